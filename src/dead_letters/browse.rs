use std::io;

use super::error::DeadLettersError;
use super::filter::Filter;
use super::session::{DeadLetters, QueueSession};
use crate::broker::HeldLetter;

/// Reads dead letters, the oldest first. Nothing is changed.
#[derive(Debug)]
pub struct Browse<'a> {
    /// Which ones.
    pub filter: &'a Filter,
    /// Where the filter has no limit.
    pub default_limit: u32,
}

/// How far it went.
#[derive(Debug, Clone, Copy)]
pub struct BrowseReport {
    /// Dead letters in the queue.
    pub letters: u32,
    /// Dead letters that matched.
    pub matched: u32,
    /// The position of the last one read.
    pub position: u32,
    /// Whether it ended because nobody reads the answer any longer.
    pub unread: bool,
}

impl BrowseReport {
    /// Whether only the default limit kept it from reading further.
    #[must_use]
    pub fn is_cut(&self, browse: &Browse<'_>) -> bool {
        browse.filter.limit.is_none() && self.matched == browse.default_limit && self.position < self.letters
    }
}

impl Browse<'_> {
    /// Calls `visit` with each dead letter that matches, with its position. `false` ends it.
    ///
    /// # Errors
    /// Where the queue cannot be read, the work is stopped, or `visit` fails.
    pub async fn run(
        &self,
        letters: &DeadLetters,
        mut visit: impl FnMut(u32, HeldLetter) -> io::Result<bool>,
    ) -> Result<BrowseReport, DeadLettersError> {
        letters
            .with_queue(async |session| {
                let mut search = self.filter.search().limited_to(self.default_limit);
                let mut unread = false;
                while !search.is_over() && !unread {
                    let Some(held) = session.read().await? else { break };
                    if search.matches(&held.letter) {
                        unread = !visit(search.position(), held).map_err(DeadLettersError::Output)?;
                    }
                }
                let (matched, position) = (search.matched(), search.position());
                Ok(BrowseReport { letters: session.queue.letters(), matched, position, unread })
            })
            .await
    }
}

/// The dead letter that matches, which must be the only one.
///
/// # Errors
/// Where none or several match, the queue cannot be read, or the work is stopped.
pub async fn find_one(letters: &DeadLetters, filter: &Filter) -> Result<HeldLetter, DeadLettersError> {
    letters.with_queue(async |session| the_one(session, filter).await).await
}

pub(super) async fn the_one(session: &mut QueueSession<'_>, filter: &Filter) -> Result<HeldLetter, DeadLettersError> {
    let mut search = filter.search();
    let mut found = None;
    while !search.is_over() {
        let Some(held) = session.read().await? else { break };
        if search.matches(&held.letter) {
            found.get_or_insert(held);
        }
    }
    match (found, search.matched()) {
        (Some(letter), 1) => Ok(letter),
        (None, _) => Err(DeadLettersError::NoMatch),
        (Some(_), more) => Err(DeadLettersError::SeveralMatch(more)),
    }
}
