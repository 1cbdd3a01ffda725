//! A configuration file: from TOML, with the line of everything in it.
//!
//! Invariant: what stands on a line that is no TOML is told once, as that, and not looked at.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::iter;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::listener::{Draft, Lack};
use super::load::{File, Loading};
use super::nearest::nearest;
use super::problem::{Cause, Origin};
use super::setting::{Given, Setting};
use super::table::{Bounds, Section};
use super::{ListenAddress, SECTIONS};

/// A file while it is read.
pub(super) struct Lines<'a> {
    name: &'a str,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
    /// Lines that are no TOML: what was made of them is not looked at.
    broken: BTreeSet<usize>,
}

impl<'a> Lines<'a> {
    fn of(file: &File<'a>) -> Self {
        let ends = file.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect();
        Self { name: file.name, starts, broken: BTreeSet::new() }
    }

    /// Where the heading of a table is broken, nobody knows what the rows below it are rows of.
    fn give_up_broken_tables(&mut self, text: &str) {
        let mut is_broken = false;
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim_start().starts_with('[') {
                is_broken = self.broken.contains(&line);
            } else if is_broken {
                self.broken.insert(line);
            }
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    pub(super) fn at(&self, offset: usize) -> Origin {
        Origin::File { name: self.name.to_owned(), line: self.line(offset) }
    }
}

impl Loading<'_> {
    /// Takes what `file` says.
    pub(super) fn file(&mut self, file: &File<'_>) {
        let (table, errors) = DeTable::parse_recoverable(file.text);
        let mut lines = Lines::of(file);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            if lines.broken.insert(lines.line(offset)) {
                let cause = Cause::Syntax(error.message().to_owned());
                self.problem(Some(lines.at(offset)), "", cause);
            }
        }
        lines.give_up_broken_tables(file.text);
        let before = self.problems.len();
        for (name, value) in table.get_ref() {
            match name.get_ref().as_ref() {
                "listen" => self.listen_in_file(&lines, value),
                "listener" => self.listeners_in_file(&lines, value),
                "tenants" => self.tenants_in_file(&lines, value),
                _ => self.section_in_file(&lines, name, value),
            }
        }
        // A table forgets its order; people read files from top to bottom.
        let told = self.problems.split_off(before);
        self.problems.extend(told.into_iter().filter(|problem| {
            !matches!(&problem.origin, Some(Origin::File { line, .. }) if lines.broken.contains(line))
        }));
        self.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        self.broken = !lines.broken.is_empty();
    }

    fn listen_in_file(&mut self, lines: &Lines<'_>, value: &Spanned<DeValue<'_>>) {
        let start = value.span().start;
        let Some(items) = value.get_ref().as_array() else {
            let wrong = Given::Toml(value).wrong("a list of addresses");
            return self.wrong(lines.at(start), "listen", wrong);
        };
        self.given.insert("listen".to_owned(), lines.at(start));
        for item in items {
            let origin = lines.at(item.span().start);
            match ListenAddress::read(&Given::Toml(item), &Bounds::NONE) {
                Ok(address) => self.drafts.push((Some(origin), Draft::plain(address))),
                Err(wrong) => self.wrong(origin, "listen", wrong),
            }
        }
    }

    fn listeners_in_file(&mut self, lines: &Lines<'_>, value: &Spanned<DeValue<'_>>) {
        let Some(tables) = value.get_ref().as_array() else {
            let wrong = Given::Toml(value).wrong("[[listener]] tables");
            return self.wrong(lines.at(value.span().start), "listener", wrong);
        };
        for table in tables {
            let origin = lines.at(table.span().start);
            let Some(rows) = table.get_ref().as_table() else {
                let wrong = Given::Toml(table).wrong("a table");
                self.wrong(origin, "listener", wrong);
                continue;
            };
            let mut draft = Draft::default();
            let told = self.problems.len();
            self.rows_of_draft(lines, rows, "listener", &Draft::SECTION, &mut draft);
            self.lacks(&origin, &draft, told);
            self.drafts.push((Some(origin), draft));
        }
    }

    fn rows_of_draft(
        &mut self,
        lines: &Lines<'_>,
        rows: &DeTable<'_>,
        path: &str,
        section: &Section<Draft>,
        draft: &mut Draft,
    ) {
        for (name, value) in rows {
            let path = format!("{path}.{}", name.get_ref());
            let origin = lines.at(value.span().start);
            if path == "listener.tls" {
                draft.encrypted = true;
                match value.get_ref().as_table() {
                    Some(rows) => {
                        self.rows_of_draft(lines, rows, &path, &Draft::TLS_SECTION, draft);
                    }
                    None => self.wrong(origin, &path, Given::Toml(value).wrong("a table")),
                }
                continue;
            }
            let Some(key) = section.keys.iter().find(|key| key.name == name.get_ref().as_ref())
            else {
                let names = section.keys.iter().map(|key| key.name);
                let nearest = nearest(name.get_ref(), names.chain(["tls"])).map(str::to_owned);
                let origin = lines.at(name.span().start);
                self.problem(Some(origin), path, Cause::Unknown { nearest });
                continue;
            };
            match (key.apply)(draft, &Given::Toml(value), &key.bounds) {
                Ok(()) => _ = draft.places.insert(path, origin),
                Err(wrong) => {
                    let origin = wrong.offset.map_or(origin, |offset| lines.at(offset));
                    self.wrong(origin, &path, wrong);
                }
            }
        }
    }

    /// The rows of a section within a section.
    fn rows_in_file(&mut self, lines: &Lines<'_>, section: &str, rows: &DeTable<'_>) {
        for (name, value) in rows {
            let path = format!("{section}.{}", name.get_ref());
            self.setting(&path, Given::Toml(value), |offset| {
                lines.at(offset.unwrap_or(name.span().start))
            });
        }
    }

    /// A setting that could not be read, or whose table could not, is not missing: it is among
    /// the problems after `told`.
    fn lacks(&mut self, origin: &Origin, draft: &Draft, told: usize) {
        for key in draft.lacks().into_iter().map(Lack::key) {
            if !self.problems[told..].iter().any(|problem| key.starts_with(&problem.key)) {
                self.problem(Some(origin.clone()), key, Cause::Missing);
            }
        }
    }

    fn section_in_file(
        &mut self,
        lines: &Lines<'_>,
        name: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let section_name = name.get_ref().as_ref();
        let Some(section) = SECTIONS.iter().find(|section| section.name == section_name) else {
            let names = SECTIONS.iter().map(|section| section.name);
            let nearest = nearest(section_name, names.chain(["listen", "listener", "tenants"]))
                .map(str::to_owned);
            let origin = lines.at(name.span().start);
            return self.problem(Some(origin), section_name, Cause::Unknown { nearest });
        };
        let Some(rows) = value.get_ref().as_table() else {
            let wrong = Given::Toml(value).wrong(format!("a table, [{section_name}]"));
            return self.wrong(lines.at(value.span().start), section_name, wrong);
        };
        for (name, value) in rows {
            if section_name == "namespaces" && value.get_ref().as_table().is_some() {
                if let Some((name, rooms)) = self.namespace_in_file(lines, "", name, value) {
                    self.config.namespace_rooms.insert(name, rooms);
                }
                continue;
            }
            let path = format!("{}.{}", section.name, name.get_ref());
            let below = SECTIONS.iter().find(|section| section.name == path);
            if let (Some(section), Some(rows)) = (below, value.get_ref().as_table()) {
                self.rows_in_file(lines, section.name, rows);
                continue;
            }
            self.setting(&path, Given::Toml(value), |offset| {
                lines.at(offset.unwrap_or(name.span().start))
            });
        }
    }
}
