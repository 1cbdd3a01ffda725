//! JSON objects from strangers: every member once, at every depth.
//!
//! Invariant: two readers of the same object cannot disagree, for what they might read differently
//! is refused: members given twice (however they are spelled), numbers past all numbers, and nesting
//! past a depth. All of it is looked at in one walk.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::scan::{after_colon, is_end, skip, skip_whitespace, string};
use super::text::said;

/// How deep the values of an object may be nested.
const DEPTH_MAX: u8 = 16;

/// The members of an object: what each is called, and the text of its value. Most have few, which are
/// no work for the allocator.
type Members<'a> = SmallVec<[(Cow<'a, str>, &'a str); 8]>;

/// An object whose members have been checked, in some order.
#[derive(Debug)]
pub(crate) struct Object<'a>(Members<'a>);

impl<'a> Object<'a> {
    /// Reads one; none if it is no object, or not a strict one.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let start = skip_whitespace(text.as_bytes(), 0);
        let mut object = Self(Members::new());
        let end = members(text, start, DEPTH_MAX + 1, &mut object.0)?;
        is_end(text.as_bytes(), end).then_some(object)
    }

    /// The text of a member's value.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        // Most names are constants, and of these a comparison is one of words.
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| *value)
    }

    /// Its members.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

/// Puts the members of the object that begins at `at` into `found`, and tells where it ends; it and what
/// is in it may be nested `depth` deep.
fn members<'a>(whole: &'a str, at: usize, depth: u8, found: &mut Members<'a>) -> Option<usize> {
    let bytes = whole.as_bytes();
    let below = depth.checked_sub(1)?;
    let end = elements(bytes, at, [b'{', b'}'], |at| {
        let quoted = (bytes.get(at) == Some(&b'"')).then(|| string(bytes, at + 1))?.ok()?;
        let name = said(whole.get(at..quoted)?)?;
        let start = after_colon(bytes, quoted).ok()?;
        let end = value(whole, start, below)?;
        found.push((name, whole.get(start..end)?));
        Some(end)
    })?;
    (!is_one_twice(found)).then_some(end)
}

/// Whether two members have the same name. Puts many in order.
fn is_one_twice(members: &mut Members<'_>) -> bool {
    if members.spilled() {
        members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        return members.windows(2).any(|pair| pair[0].0 == pair[1].0);
    }
    let mut pairs = members.iter().zip(1..);
    pairs.any(|((name, _), next)| members[next..].iter().any(|(other, _)| name == other))
}

/// The strings of a list, each given to `read` until that says none; none if it did, and if it is no
/// list, or one of anything else.
pub(crate) fn each_text<'a>(
    list: &'a str,
    mut read: impl FnMut(Cow<'a, str>) -> Option<()>,
) -> Option<()> {
    let bytes = list.as_bytes();
    let end = elements(bytes, 0, [b'[', b']'], |at| {
        let quoted = (bytes.get(at) == Some(&b'"')).then(|| string(bytes, at + 1))?.ok()?;
        read(said(list.get(at..quoted)?)?)?;
        Some(quoted)
    })?;
    is_end(bytes, end).then_some(())
}

/// The strings of a list; none if it is no list, or one of anything else.
pub(crate) fn texts(list: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut texts = Vec::new();
    each_text(list, |text| {
        texts.push(text);
        Some(())
    })?;
    Some(texts)
}

/// The end of the value that begins at `at`.
fn value(whole: &str, at: usize, depth: u8) -> Option<usize> {
    let bytes = whole.as_bytes();
    match bytes.get(at)? {
        b'{' => members(whole, at, depth, &mut Members::new()),
        b'[' => {
            let below = depth.checked_sub(1)?;
            elements(bytes, at, [b'[', b']'], |at| value(whole, at, below))
        }
        _ => {
            let end = skip(bytes, at, 0).ok()?;
            let is_number = bytes[at] == b'-' || bytes[at].is_ascii_digit();
            // One without an exponent is not long enough to be past all numbers.
            let is_vast = || {
                let text = whole.get(at..end).filter(|text| text.contains(['e', 'E']));
                text.is_some_and(|text| !text.parse().is_ok_and(f64::is_finite))
            };
            (!is_number || !is_vast()).then_some(end)
        }
    }
}

/// The end of the list between these brackets, the first of which stands at `at`; `element` finds
/// the end of the one that begins where it is told.
fn elements(
    bytes: &[u8],
    at: usize,
    [open, close]: [u8; 2],
    mut element: impl FnMut(usize) -> Option<usize>,
) -> Option<usize> {
    if bytes.get(at) != Some(&open) {
        return None;
    }
    let mut at = skip_whitespace(bytes, at + 1);
    if bytes.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        at = skip_whitespace(bytes, element(at)?);
        match bytes.get(at)? {
            b',' => at = skip_whitespace(bytes, at + 1),
            byte if *byte == close => return Some(at + 1),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of JSON, and some that are nearly that.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "1",
            "-0",
            "1e999",
            "1e-999",
            "-1E+400",
            "01",
            "1.5e3",
            "1.",
            "true",
            "nul",
            "null",
            r#""a""#,
            r#""\u0061""#,
            r#""\ud800""#,
            r#""\ud83d\ude00""#,
            "\"\n\"",
            "{}",
            "[]",
            " ",
        ]);
        let name = prop::sample::select(vec![
            r#""a""#,
            r#""\u0061""#,
            r#""b""#,
            r#""""#,
            r#""\ud800""#,
            "a",
        ]);
        let comma = prop::sample::select(vec![",", " , ", ",,", ""]);
        leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, move |inner| {
            let list = (prop::collection::vec(inner.clone(), 0..4), comma.clone())
                .prop_map(|(values, comma)| format!("[{}]", values.join(comma)));
            let member = (name.clone(), inner).prop_map(|(name, value)| format!("{name}: {value}"));
            let object = (prop::collection::vec(member, 0..4), comma.clone())
                .prop_map(|(members, comma)| format!("{{{}}}", members.join(comma)));
            prop_oneof![list, object]
        })
    }

    /// How many members are left where of those of one name only the last is.
    fn distinct(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(list) => list.iter().map(distinct).sum(),
            serde_json::Value::Object(map) => map.len() + map.values().map(distinct).sum::<usize>(),
            _ => 0,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_read_is_what_another_reader_reads_with_every_member_once(text in json()) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text).ok();
            let is_object = theirs.as_ref().is_some_and(serde_json::Value::is_object);
            // No text in these has a colon in it.
            let is_once = theirs.as_ref().map(distinct) == Some(text.matches(':').count());
            let ours = Object::parse(text.as_bytes());
            prop_assert_eq!(ours.is_some(), is_object && is_once, "{}", text);
            for (name, value) in ours.iter().flat_map(Object::iter) {
                let value: serde_json::Value = serde_json::from_str(value).expect("it is JSON");
                prop_assert_eq!(theirs.as_ref().and_then(|it| it.get(name)), Some(&value));
            }
        }
    }

    #[test]
    fn a_list_of_strings_has_nothing_else_in_it() {
        let said = texts(r#"[ "a" ,"\u0062", ""]"#).expect("a list");
        assert_eq!(said, ["a", "b", ""]);
        assert_eq!(texts("[]").map(|none| none.len()), Some(0));
        for other in [r#"["a",1]"#, r#"["a",["b"]]"#, r#"["a",]"#, r#"["a"]x"#, r#""a""#, "{}", ""]
        {
            assert_eq!(texts(other), None, "{other}");
        }
    }

    #[test]
    fn values_are_nested_so_deep_and_no_deeper() {
        let nested = |depth: usize, [open, close]: [&str; 2]| {
            format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
        };
        for brackets in [["[", "]"], ["{\"b\":", "}"]] {
            assert!(Object::parse(nested(16, brackets).as_bytes()).is_some());
            assert!(Object::parse(nested(17, brackets).as_bytes()).is_none());
        }
    }
}
