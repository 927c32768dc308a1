/// A table, with its schema unless that is public.
#[derive(Debug, Clone)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The name without it.
    pub name: String,
}

impl From<&str> for TableName {
    fn from(text: &str) -> Self {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        Self { schema: schema.to_owned(), name: name.to_owned() }
    }
}
