use super::*;
use crate::protocol::Codec;

fn filter(words: &[&str], patterns: &[&str], action: FilterAction) -> WordFilter {
    let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
    WordFilter { words: owned(words), patterns: owned(patterns), action }
}

fn judge(censor: &Censor, text: &str) -> Judgement {
    let json = serde_json::to_vec(&text).expect("JSON");
    censor.judge(Data::new(Codec::Json, &json, 8).expect("JSON"))
}

fn masked(censor: &Censor, text: &str) -> String {
    match judge(censor, text) {
        Judgement::Pass => text.to_owned(),
        Judgement::Mask(data) => serde_json::from_slice(data.as_data().bytes()).expect("JSON"),
        Judgement::Block => panic!("it masks"),
    }
}

#[test]
fn words_are_found_whole_and_in_any_case_patterns_wherever_they_are() {
    let words = ["heck", "Straße", "f*ck", "a b"];
    let censor = Censor::new(&filter(&words, &["x{2,}y"], FilterAction::Mask)).expect("it is one");
    for (text, expected) in [
        ("What the Heck, HECK!", "What the ****, ****!"),
        ("hecking checks", "hecking checks"),
        ("die straße", "die ******"),
        ("F*CK that", "**** that"),
        ("a b", "***"),
        ("axxxybxy", "a****bxy"),
        ("", ""),
    ] {
        assert_eq!(masked(&censor, text), expected);
    }
}

#[test]
fn what_overlaps_is_hidden_together() {
    let censor = Censor::new(&filter(&["one two"], &["two three", "e"], FilterAction::Mask))
        .expect("it is one");
    assert_eq!(masked(&censor, "one two three"), "*************");
}

#[test]
fn a_filter_that_blocks_changes_nothing() {
    let censor = Censor::new(&filter(&["heck"], &[], FilterAction::Block)).expect("it is one");
    assert_eq!(judge(&censor, "oh heck"), Judgement::Block);
    assert_eq!(judge(&censor, "oh"), Judgement::Pass);
    let empty = Censor::new(&WordFilter::default()).expect("it is one");
    assert_eq!(judge(&empty, "heck"), Judgement::Pass);
}

#[test]
fn expressions_that_grow_too_large_together_are_refused() {
    let large = vec!["\\w{1,200}"; 40];
    assert!(Censor::new(&filter(&[], &large, FilterAction::Mask)).is_none());
    assert!(Censor::new(&filter(&[], &["(?x) a # b"], FilterAction::Mask)).is_none());
}

#[test]
fn the_most_words_that_a_room_may_have_are_found_in_a_long_text_at_once() {
    let words: Vec<_> = (0..1_000).map(|n| format!("word{n:011}")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let censor = Censor::new(&filter(&words, &[], FilterAction::Block)).expect("it is one");
    let text = "word".repeat(16_000);
    assert_eq!(judge(&censor, &text), Judgement::Pass);
    assert_eq!(judge(&censor, &format!("{text} WORD00000000999")), Judgement::Block);
}
