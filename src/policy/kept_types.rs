/// Which types outlive their event: a default, and the types that differ from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTypes {
    keep_by_default: bool,
    exceptions: Vec<String>,
}

impl KeptTypes {
    /// Builds the policy from the default and each listed type: whether snapshots outlive their event.
    pub fn new(keep_by_default: bool, types: impl IntoIterator<Item = (String, bool)>) -> Self {
        let exceptions = types
            .into_iter()
            .filter(|(_, keep)| *keep != keep_by_default)
            .map(|(snapshot_type, _)| snapshot_type)
            .collect();
        Self { keep_by_default, exceptions }
    }

    /// Whether types that are not listed outlive their event.
    #[must_use]
    pub const fn keeps_by_default(&self) -> bool {
        self.keep_by_default
    }

    /// The types that differ from the default.
    #[must_use]
    pub fn exceptions(&self) -> &[String] {
        &self.exceptions
    }

    /// Whether snapshots of the type outlive their event. `storage/rules/event_end_rule.sql` asks the opposite.
    #[must_use]
    pub fn keeps(&self, snapshot_type: &str) -> bool {
        self.exceptions.iter().any(|name| name == snapshot_type) != self.keep_by_default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_types_follow_their_own_row_and_others_the_default() {
        for default in [false, true] {
            let policy = KeptTypes::new(default, [("qna".to_owned(), true), ("offer".to_owned(), false)]);
            assert!(policy.keeps("qna"));
            assert!(!policy.keeps("offer"));
            assert_eq!(policy.keeps("rooms"), default);
        }
    }

    #[test]
    fn exceptions_are_the_types_that_differ_from_the_default() {
        for (default, differs) in [(false, "qna"), (true, "offer")] {
            let policy = KeptTypes::new(default, [("qna".to_owned(), true), ("offer".to_owned(), false)]);
            assert_eq!((policy.keeps_by_default(), policy.exceptions()), (default, &[differs.to_owned()][..]));
        }
    }
}
