use uuid::Uuid;

/// Numbers that a printed seed brings back (xorshift).
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    /// `FAULTS_SEED`, or a new one.
    pub fn new() -> Self {
        let seed = std::env::var("FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
        Self::of(seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0))
    }

    pub fn of(seed: u64) -> Self {
        // Zero would stay zero.
        Self { seed, state: seed.max(1) }
    }

    /// An index into `length` things.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a length")
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }
}
