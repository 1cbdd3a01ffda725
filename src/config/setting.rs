//! Values as they are given, and the types they are read into.
//!
//! Invariant: what is wrong is told with what was found and what would be right; a secret is
//! never what was found.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::cpus;
use super::secret::Secret;
use super::table::{Bounds, Kind};

/// The most that a message repeats of what was found.
const FOUND_CHARACTERS: usize = 60;

/// A value as somebody gave it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    /// In a file.
    Toml(&'a Spanned<DeValue<'a>>),
    /// In a variable or a flag.
    Text(&'a str),
    /// What was read from a secret's variable or file.
    Secret(&'a Secret),
}

/// Why a value cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What was there.
    pub(super) found: String,
    /// What may be there.
    pub(super) wanted: String,
    /// Where in the file it begins, in bytes; none if it is not from a file.
    pub(super) offset: Option<usize>,
    /// What else is wrong in the same list.
    pub(super) others: Vec<Wrong>,
}

impl<'a> Given<'a> {
    fn toml(&self) -> Option<&'a DeValue<'a>> {
        match *self {
            Given::Toml(value) => Some(value.get_ref()),
            Given::Text(_) | Given::Secret(_) => None,
        }
    }

    /// The string or the word that was given.
    pub(super) fn text(&self) -> Option<&'a str> {
        match *self {
            Given::Text(text) => Some(text),
            _ => self.toml()?.as_str(),
        }
    }

    fn boolean(&self) -> Option<bool> {
        match *self {
            Given::Text("true") => Some(true),
            Given::Text("false") => Some(false),
            _ => self.toml()?.as_bool(),
        }
    }

    fn number(&self) -> Option<u64> {
        match *self {
            Given::Text(text) => text.replace('_', "").parse().ok(),
            _ => {
                let integer = self.toml()?.as_integer()?;
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
        }
    }

    /// An array, or text divided by commas.
    pub(super) fn list(&self) -> Option<Vec<Given<'a>>> {
        match *self {
            Given::Text("") => Some(Vec::new()),
            Given::Text(text) => {
                Some(text.split(',').map(|item| Given::Text(item.trim())).collect())
            }
            _ => Some(self.toml()?.as_array()?.iter().map(Given::Toml).collect()),
        }
    }

    /// A table: its rows by name.
    pub(super) fn table(&self) -> Option<Vec<(&'a str, Given<'a>)>> {
        let rows = self.toml()?.as_table()?;
        Some(rows.iter().map(|(name, value)| (&**name.get_ref(), Given::Toml(value))).collect())
    }

    /// As a message shows it.
    pub(super) fn found(&self) -> String {
        let value = match *self {
            Given::Text(text) => return quoted(text),
            Given::Secret(_) => return "a secret".to_owned(),
            Given::Toml(value) => value.get_ref(),
        };
        match value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(value) => shortened(&value.to_string()),
            DeValue::Float(value) => shortened(&value.to_string()),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(value) => value.to_string(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// That this is not `wanted`.
    pub(super) fn wrong(&self, wanted: impl Into<String>) -> Wrong {
        let offset = match self {
            Given::Toml(value) => Some(value.span().start),
            Given::Text(_) | Given::Secret(_) => None,
        };
        Wrong { found: self.found(), wanted: wanted.into(), offset, others: Vec::new() }
    }
}

/// `text` in quotes on one line, cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// `text`, cut if it is long.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    /// What sets it apart.
    const KIND: Kind = Kind::Plain;
    /// What may be given, in words.
    fn wanted(bounds: &Bounds) -> String;
    /// The value of what was given.
    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong>;
    /// As TOML; none if there is no value.
    fn show(&self) -> Option<String>;
    /// The value, if it is a number.
    fn number(&self) -> Option<u64> {
        None
    }
}

macro_rules! numbers {
    ($($type:ty)+) => { $(
        impl Setting for $type {
            const KIND: Kind = Kind::Number;
            fn wanted(bounds: &Bounds) -> String {
                bounds.to_string()
            }
            fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
                given
                    .number()
                    .filter(|number| bounds.allow(*number))
                    .and_then(|number| Self::try_from(number).ok())
                    .ok_or_else(|| given.wrong(Self::wanted(bounds)))
            }
            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
            fn number(&self) -> Option<u64> {
                Some(u64::from(*self))
            }
        }
    )+ };
}
numbers!(u8 u16 u32 u64);

/// An enum whose variants are words in a file.
macro_rules! choices {
    (
        $(#[$about:meta])+
        $Name:ident { $( $(#[$attribute:meta])* $Variant:ident = $word:literal, )+ }
    ) => {
        $(#[$about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $Name { $( $(#[$attribute])* $Variant, )+ }

        impl $Name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Variant),+];

            /// As it stands in a file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl $crate::config::setting::Setting for $Name {
            fn wanted(_: &$crate::config::table::Bounds) -> String {
                format!("one of {}", [$(concat!("\"", $word, "\"")),+].join(", "))
            }
            fn read(
                given: &$crate::config::setting::Given<'_>,
                bounds: &$crate::config::table::Bounds,
            ) -> Result<Self, $crate::config::setting::Wrong> {
                let is_given = |it: &Self| given.text() == Some(it.word());
                let found = Self::ALL.iter().copied().find(is_given);
                found.ok_or_else(|| given.wrong(Self::wanted(bounds)))
            }
            fn show(&self) -> Option<String> {
                Some(format!("\"{}\"", self.word()))
            }
        }
    };
}
pub(super) use choices;

impl Setting for bool {
    fn wanted(_: &Bounds) -> String {
        "true or false".to_owned()
    }
    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        given.boolean().ok_or_else(|| given.wrong(Self::wanted(bounds)))
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Types that are one string in a file; each says how to read and write it.
macro_rules! strings {
    ($($type:ty, $wanted:literal, $read:expr, $write:expr;)+) => { $(
        impl Setting for $type {
            fn wanted(_: &Bounds) -> String {
                $wanted.to_owned()
            }
            fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
                let read: fn(&str) -> Option<$type> = $read;
                given.text().and_then(read).ok_or_else(|| given.wrong(Self::wanted(bounds)))
            }
            fn show(&self) -> Option<String> {
                let write: fn(&$type) -> String = $write;
                Some(toml_string(&write(self)))
            }
        }
    )+ };
}
strings! {
    String, "a string that is not empty",
        |text| (!text.is_empty()).then(|| text.to_owned()), Clone::clone;
    PathBuf, "the path of a file",
        |text| (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text)),
        |path| path.display().to_string();
    SocketAddr, "an IP address and a port, such as \"127.0.0.1:8001\" or \"[::1]:8001\"",
        |text| text.parse().ok(), ToString::to_string;
    IpNet, "an IP address or network, such as \"10.0.0.0/8\" or \"::1\"",
        |text| text.parse().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into())),
        ToString::to_string;
    super::Mode, "permissions in octal, such as \"0660\"",
        |text| text.parse().ok(), ToString::to_string;
    super::ListenAddress, "\"ADDRESS:PORT\", \"[IPV6]:PORT\" or \"unix:/PATH\" (at most 107 bytes)",
        |text| text.parse().ok(), ToString::to_string;
}

impl<Item: Setting> Setting for Option<Item> {
    const KIND: Kind = Item::KIND;
    fn wanted(bounds: &Bounds) -> String {
        Item::wanted(bounds)
    }
    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        Item::read(given, bounds).map(Some)
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Item::show)
    }
}

macro_rules! lists {
    ($($item:ty, $wanted:literal;)+) => { $(
        impl Setting for Vec<$item> {
            fn wanted(_: &Bounds) -> String {
                $wanted.to_owned()
            }
            fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
                let items = given.list().ok_or_else(|| given.wrong(Self::wanted(bounds)))?;
                let (mut read, mut wrong) = (Vec::new(), Vec::new());
                for item in items {
                    match <$item>::read(&item, bounds) {
                        Ok(item) => read.push(item),
                        Err(mut it) => {
                            let others = std::mem::take(&mut it.others);
                            wrong.push(it);
                            wrong.extend(others);
                        }
                    }
                }
                let mut wrong = wrong.into_iter();
                match wrong.next() {
                    None => Ok(read),
                    Some(first) => Err(Wrong { others: wrong.collect(), ..first }),
                }
            }
            fn show(&self) -> Option<String> {
                let items: Vec<String> = self.iter().filter_map(Setting::show).collect();
                Some(format!("[{}]", items.join(", ")))
            }
        }
    )+ };
}
lists! {
    String, "a list of strings";
    super::TokenKey, "a list of tables { algorithm, id, issuer } with one of secret_file, public_key_file (both want an algorithm), jwks_file, jwks_url";
    super::CookieKey, "a list of tables { id, secret_file }";
    super::ApiKey, "a list of tables { prefix, hash, tenant, user, permissions, rooms, expires_at }";
    IpNet, "a list of networks, such as [\"10.0.0.0/8\", \"::1\"]";
}

/// CPUs: `"0,2-5"`, or an array of numbers.
impl Setting for Vec<usize> {
    fn wanted(_: &Bounds) -> String {
        format!("CPUs below {}, each once, such as \"0,2-5\" or [0, 2, 3]", cpus::CPUS_MAX)
    }
    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        let cpus = match (given.text(), given.list()) {
            (Some(text), _) => cpus::parse(text),
            (None, Some(items)) => items
                .iter()
                .map(|item| item.number().and_then(|number| usize::try_from(number).ok()))
                .collect::<Option<Vec<usize>>>()
                .and_then(cpus::checked),
            (None, None) => None,
        };
        cpus.ok_or_else(|| given.wrong(Self::wanted(bounds)))
    }
    fn show(&self) -> Option<String> {
        Some(toml_string(&cpus::format(self)))
    }
}

impl Setting for Secret {
    const KIND: Kind = Kind::Secret;
    fn wanted(_: &Bounds) -> String {
        format!("the path of a file that holds at least {} bytes", Secret::MIN_BYTES)
    }
    fn read(given: &Given<'_>, bounds: &Bounds) -> Result<Self, Wrong> {
        match given {
            Given::Secret(secret) => Ok((*secret).clone()),
            Given::Toml(_) | Given::Text(_) => {
                Err(Wrong { found: "a secret".to_owned(), ..given.wrong(Self::wanted(bounds)) })
            }
        }
    }
    /// Its file, never itself.
    fn show(&self) -> Option<String> {
        self.file().map(|file| toml_string(&file.display().to_string()))
    }
}

/// `text` as a TOML basic string.
pub(super) fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
