use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::DeadLettersError;
use crate::broker::DeadLetter;

/// Stands for certain dead letters of a queue: the queue's length, their count, and a fingerprint of their contents.
pub(super) struct Selection {
    letters: u32,
    selected: u32,
    hasher: DefaultHasher,
}

impl Selection {
    /// Of none yet, in a queue of this length.
    pub(super) fn new(letters: u32) -> Self {
        Self { letters, selected: 0, hasher: DefaultHasher::new() }
    }

    pub(super) fn add(&mut self, letter: &DeadLetter) {
        self.selected += 1;
        letter.fingerprint().hash(&mut self.hasher);
    }

    /// The length of the queue that a selection was made in.
    pub(super) fn letters(selection: &str) -> Result<u32, DeadLettersError> {
        let letters = selection.split('-').next().and_then(|letters| letters.parse().ok());
        letters.ok_or_else(|| DeadLettersError::InvalidSelection(selection.to_owned()))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}", self.letters, self.selected, self.hasher.finish())
    }
}
