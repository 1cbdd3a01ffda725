//! Lists of CPUs as the kernel writes them: `0,2-5`.

/// CPUs are numbered below this, as in the kernel's `cpu_set_t`.
pub(super) const CPUS_MAX: usize = 1_024;

/// The CPUs of `text`; none if it is no list, or one is named twice or too high. Empty is no CPU.
pub fn parse(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return None;
        }
        cpus.extend(first..=last);
        if cpus.len() > CPUS_MAX {
            return None;
        }
    }
    checked(cpus)
}

/// `cpus` if each is in bounds and named once.
pub(super) fn checked(cpus: Vec<usize>) -> Option<Vec<usize>> {
    let mut sorted = cpus.clone();
    sorted.sort_unstable();
    let once = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    (once && sorted.last().is_none_or(|last| *last < CPUS_MAX)).then_some(cpus)
}

/// `cpus` in the same notation, runs of three and more shortened.
pub fn format(cpus: &[usize]) -> String {
    let mut parts = Vec::new();
    let mut rest = cpus;
    while let [first, ..] = rest {
        let run = rest.iter().zip(*first..).take_while(|(cpu, next)| *cpu == next).count();
        let taken = if run > 2 { run } else { 1 };
        parts.push(match taken {
            1 => first.to_string(),
            _ => format!("{first}-{}", first + taken - 1),
        });
        rest = &rest[taken..];
    }
    parts.join(",")
}

fn number(text: &str) -> Option<usize> {
    let text = text.trim();
    // `parse` would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().filter(|cpu| *cpu < CPUS_MAX) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn lists_read_and_write_in_one_notation() {
        for (text, cpus, written) in [
            ("", vec![], ""),
            ("0", vec![0], "0"),
            ("0,2-5", vec![0, 2, 3, 4, 5], "0,2-5"),
            (" 3 , 1-2 ", vec![3, 1, 2], "3,1,2"),
            ("7,6", vec![7, 6], "7,6"),
            ("1023", vec![1_023], "1023"),
        ] {
            assert_eq!(parse(text).as_ref(), Some(&cpus), "{text:?}");
            assert_eq!(format(&cpus), written);
            assert_eq!(parse(written), Some(cpus));
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "a",
            "1,",
            ",1",
            "-1",
            "+1",
            "5-2",
            "1-",
            "1,1",
            "0-3,2",
            "1024",
            "0-9999999999",
            "1;2",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
