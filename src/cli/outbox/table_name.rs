/// A table, with its schema unless that is public.
#[derive(Debug, Clone)]
pub(super) struct TableName {
    pub(super) schema: String,
    pub(super) name: String,
}

impl From<&str> for TableName {
    fn from(text: &str) -> Self {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        Self { schema: schema.to_owned(), name: name.to_owned() }
    }
}
