//! What somebody may have meant.

/// The one of `names` that `name` is most like, if it is like any.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NAME_MAX_BYTES: usize = 100;
    if name.len() > NAME_MAX_BYTES {
        return None;
    }
    let length = name.chars().count();
    let most = (length / 3).clamp(1, 4);
    names
        .into_iter()
        .filter(|known| known.chars().count().abs_diff(length) <= most)
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Insertions, deletions and replacements from one to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        for (from, to, steps) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("é", "e", 1)]
        {
            assert_eq!(distance(from, to), steps);
            assert_eq!(distance(to, from), steps);
        }
    }

    #[test]
    fn the_nearest_is_meant_unless_all_are_far() {
        let names = ["message_bytes", "frame_bytes", "fragments"];
        assert_eq!(nearest("mesage_bytes", names), Some("message_bytes"));
        assert_eq!(nearest("fragment", names), Some("fragments"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest(&"x".repeat(101), names), None);
    }
}
