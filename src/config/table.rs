//! What is known of a setting, in one row; and the macro that makes a section out of rows.
//!
//! Invariant: the rows are the only place where a setting is described. Its field, its default,
//! its name in files, variables and flags, its bounds and its documentation all come from there.

use std::fmt;
use std::ops::RangeInclusive;

use super::setting::{Given, Wrong};

/// One mebibyte.
pub(super) const MIB: u64 = 1 << 20;
/// One gibibyte.
pub(super) const GIB: u64 = 1 << 30;
/// One minute in milliseconds.
pub(super) const MINUTE_MS: u64 = 60_000;
/// One day in milliseconds.
pub(super) const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// A setting below `Root`.
#[derive(Debug)]
pub(super) struct Key<Root> {
    /// The table it stands in.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    /// What it is for, in a sentence.
    pub(super) reason: &'static str,
    /// What its numbers may be.
    pub(super) bounds: Bounds,
    /// What kind of value it takes.
    pub(super) kind: Kind,
    /// Reads what was given into `Root`.
    pub(super) apply: fn(&mut Root, &Given<'_>, &Bounds) -> Result<(), Wrong>,
    /// The value as TOML; none if there is none.
    pub(super) show: fn(&Root) -> Option<String>,
    /// The value, if it is a number.
    pub(super) number: fn(&Root) -> Option<u64>,
    /// Whether two have the same value.
    pub(super) same: fn(&Root, &Root) -> bool,
    /// What it may be, in words.
    pub(super) wanted: fn(&Bounds) -> String,
}

/// What sets some settings apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number within its bounds.
    Number,
    /// A secret: given by a variable, or by a file whose name is the setting.
    Secret,
    /// Anything else.
    Plain,
}

/// The numbers a setting may be, and what they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The least.
    pub(super) low: u64,
    /// The most.
    pub(super) high: u64,
    /// Whether 0 is allowed too, as "off" or "no limit".
    pub(super) or_zero: bool,
    /// What is counted.
    pub(super) unit: Unit,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things the name of the setting names.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Things a second.
    PerSecond,
    /// Things a minute.
    PerMinute,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

impl Unit {
    /// The unit as it stands behind a number, with the space before it.
    #[must_use]
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Bytes => " bytes",
            Self::BytesPerSecond => " bytes per second",
            Self::PerSecond => " per second",
            Self::PerMinute => " per minute",
            Self::Milliseconds => " ms",
            Self::Microseconds => " us",
        }
    }
}

impl Bounds {
    /// For settings that are no numbers.
    pub(super) const NONE: Self =
        Self { low: 0, high: u64::MAX, or_zero: false, unit: Unit::Count };

    /// Counted in `unit`.
    pub(super) const fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// Whether `number` may be.
    #[must_use]
    pub(super) fn allow(&self, number: u64) -> bool {
        (self.low..=self.high).contains(&number) || (number == 0 && self.or_zero)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off = if self.or_zero { "0 or " } else { "" };
        write!(f, "{off}{} to {}{}", self.low, self.high, self.unit.suffix())
    }
}

/// From the first number to the last.
pub(super) const fn range(numbers: RangeInclusive<u64>) -> Bounds {
    Bounds { low: *numbers.start(), high: *numbers.end(), or_zero: false, unit: Unit::Count }
}

/// 0, or from the first number to the last.
pub(super) const fn off_or(numbers: RangeInclusive<u64>) -> Bounds {
    Bounds { or_zero: true, ..range(numbers) }
}

impl<Root> Key<Root> {
    /// `section.name`.
    #[must_use]
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The name it is given by in files and flags: of a secret, the name of the file's setting.
    #[must_use]
    pub(super) fn written(&self) -> String {
        match self.kind {
            Kind::Secret => format!("{}_file", self.name),
            Kind::Number | Kind::Plain => self.name.to_owned(),
        }
    }

    /// The environment variable.
    #[must_use]
    pub(super) fn variable(&self) -> String {
        let table = self.section.replace('.', "_");
        format!("{}{table}_{}", super::VARIABLE_PREFIX, self.name).to_uppercase()
    }
}

/// The name of a row, which may be a word that Rust keeps for itself.
pub(super) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', rest @ ..] => match std::str::from_utf8(rest) {
            Ok(rest) => rest,
            Err(_) => name,
        },
        _ => name,
    }
}

/// A table of settings.
#[derive(Debug)]
pub(super) struct Section<Root: 'static> {
    /// Its name in a file.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) about: &'static str,
    /// Its rows.
    pub(super) keys: &'static [Key<Root>],
}

/// Makes the struct of a section, its defaults and its rows.
///
/// A row reads `/// reason` and `name: type = default;` or, for numbers,
/// `name: type = default, bounds, Unit;`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $visible:vis $Root:ident.$field:ident $(as $table:literal)?: $Section:ident {
            $(
                $(#[doc = $reason:literal])+
                $name:ident: $type:ty = $default:expr $(, $bounds:expr, $unit:ident)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        $visible struct $Section {
            $( $(#[doc = $reason])+ $visible $name: $type, )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $( $name: $default, )+ }
            }
        }

        impl $Section {
            /// What its table is called.
            const TABLE: &str = $crate::config::table::section!(@name $field $($table)?);

            /// What a file may say about it.
            pub(in crate::config) const SECTION: $crate::config::table::Section<$Root> =
                $crate::config::table::Section {
                    name: Self::TABLE,
                    about: concat!($($about),+),
                    keys: &[ $(
                        $crate::config::table::Key {
                            section: Self::TABLE,
                            name: $crate::config::table::plain(stringify!($name)),
                            reason: concat!($($reason),+),
                            bounds: $crate::config::table::section!(@bounds $($bounds, $unit)?),
                            kind: <$type as $crate::config::setting::Setting>::KIND,
                            apply: |root, given, bounds| {
                                root.$field.$name =
                                    $crate::config::setting::Setting::read(given, bounds)?;
                                Ok(())
                            },
                            show: |root| $crate::config::setting::Setting::show(&root.$field.$name),
                            number: |root| {
                                $crate::config::setting::Setting::number(&root.$field.$name)
                            },
                            same: |one, other| one.$field.$name == other.$field.$name,
                            wanted: <$type as $crate::config::setting::Setting>::wanted,
                        },
                    )+ ],
                };
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $table:literal) => { $table };
    (@bounds) => { $crate::config::table::Bounds::NONE };
    (@bounds $bounds:expr, $unit:ident) => {
        $bounds.in_unit($crate::config::table::Unit::$unit)
    };
}
pub(super) use section;
