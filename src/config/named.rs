//! Tables that have a name of the operator's choosing: namespaces and tenants.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Lines;
use super::load::Loading;
use super::nearest::nearest;
use super::problem::Cause;
use super::section::{NamespaceDraft, RoomDefaults, Tenant, TenantDraft, TenantRows};
use super::setting::{Given, quoted};
use super::table::{Key, Section};

/// The longest name of a tenant, and of a namespace.
const NAME_BYTES: usize = 128;

impl Loading<'_> {
    /// A `[namespaces.NAME]` table, below the table of a tenant or of nobody.
    pub(super) fn namespace_in_file(
        &mut self,
        lines: &Lines<'_>,
        below: &str,
        name: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<(String, RoomDefaults)> {
        let path = format!("{below}namespaces");
        let namespace = name.get_ref().as_ref();
        let rows = self.table(lines, &format!("{path}.{namespace}"), value)?;
        let reserved = namespace.starts_with('@') && !matches!(namespace, "@all" | "@user");
        if reserved || namespace.contains(':') {
            let wanted = "a name without a colon, \"@all\" or \"@user\"".to_owned();
            let cause = Cause::Invalid { found: quoted(namespace), wanted };
            self.problem(Some(lines.at(name.span().start)), path, cause);
            return None;
        }
        let mut draft = NamespaceDraft::default();
        let path = format!("{path}.{namespace}");
        for (name, value) in rows {
            self.named_row(lines, &path, &RoomDefaults::SECTION, &[], (name, value), &mut draft);
        }
        Some((namespace.to_owned(), draft.namespace))
    }

    /// The `[tenants.NAME]` tables.
    pub(super) fn tenants_in_file(&mut self, lines: &Lines<'_>, value: &Spanned<DeValue<'_>>) {
        let Some(tables) = self.table(lines, "tenants", value) else { return };
        for (name, value) in tables {
            let path = format!("tenants.{}", name.get_ref());
            let Some(rows) = self.table(lines, &path, value) else { continue };
            if !is_tenant_name(name.get_ref()) {
                let wanted = format!("a name of 1 to {NAME_BYTES} bytes, no control characters");
                let cause = Cause::Invalid { found: quoted(name.get_ref()), wanted };
                self.problem(Some(lines.at(name.span().start)), "tenants", cause);
                continue;
            }
            let tenant = self.tenant_in_file(lines, &path, rows);
            self.config.tenants.insert(name.get_ref().to_string(), tenant);
        }
    }

    fn tenant_in_file(&mut self, lines: &Lines<'_>, path: &str, rows: &DeTable<'_>) -> Tenant {
        let mut tenant = Tenant::default();
        let mut draft = TenantDraft::default();
        for (name, value) in rows {
            if name.get_ref() != "namespaces" {
                let section = &TenantRows::SECTION;
                self.named_row(lines, path, section, &["namespaces"], (name, value), &mut draft);
                continue;
            }
            let Some(tables) = self.table(lines, &format!("{path}.namespaces"), value) else {
                continue;
            };
            for (name, value) in tables {
                let below = format!("{path}.");
                let namespace = self.namespace_in_file(lines, &below, name, value);
                tenant.namespace_rooms.extend(namespace);
            }
        }
        tenant.rows = draft.tenant;
        tenant
    }

    fn table<'v>(
        &mut self,
        lines: &Lines<'_>,
        path: &str,
        value: &'v Spanned<DeValue<'_>>,
    ) -> Option<&'v DeTable<'v>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let wrong = Given::Toml(value).wrong(format!("a table, [{path}]"));
            self.wrong(lines.at(value.span().start), path, wrong);
        }
        table
    }

    /// One row of such a table.
    fn named_row<Root>(
        &mut self,
        lines: &Lines<'_>,
        path: &str,
        section: &Section<Root>,
        tables: &[&str],
        (name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>),
        draft: &mut Root,
    ) {
        let keys: &[Key<Root>] = section.keys;
        let path = format!("{path}.{}", name.get_ref());
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
            let names = keys.iter().map(|key| key.name).chain(tables.iter().copied());
            let nearest = nearest(name.get_ref(), names).map(str::to_owned);
            let origin = lines.at(name.span().start);
            return self.problem(Some(origin), path, Cause::Unknown { nearest });
        };
        let origin = lines.at(value.span().start);
        match (key.apply)(draft, &Given::Toml(value), &key.bounds) {
            Ok(()) => _ = self.named.insert(path, origin),
            Err(wrong) => {
                let at = |offset: Option<usize>| offset.map_or(origin.clone(), |it| lines.at(it));
                self.all_wrong(at, &path, wrong);
            }
        }
    }
}

/// Whether a tenant may be called that.
fn is_tenant_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control)
}
