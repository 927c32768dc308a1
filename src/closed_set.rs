//! Sets of names that are closed: rules, reasons, checks, the labels of metrics.
//!
//! A variant is declared in one place with its name. `ALL` and `as_str` come from the same list, so neither can miss one, and every
//! `match` over the set that has no wildcard asks for the new one.

/// An enum of names: `as_str` is the name, `ALL` has every variant in the order of declaration.
macro_rules! closed_set {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $set:ident {
            $($(#[$about:meta])+ $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $visibility enum $set {
            $($(#[$about])+ $variant,)+
        }

        impl $set {
            /// Every variant, in the order of declaration.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name outside of the program.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

/// A closed set whose doc comments are shown to people: `description` is the variant's.
macro_rules! described_set {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $set:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+
        }
    ) => {
        $crate::closed_set::closed_set! {
            $(#[$meta])*
            $visibility enum $set {
                $($(#[doc = $doc])+ $variant = $name,)+
            }
        }

        impl $set {
            /// What it is, in one line.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

pub(crate) use {closed_set, described_set};
