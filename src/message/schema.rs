/// JSON Schema (draft 2020-12) of the status message's body, as `publish --schema` prints it.
#[must_use]
pub const fn json_schema() -> &'static str {
    include_str!("status_message.schema.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventStatus;

    #[test]
    fn schema_is_json_and_names_every_status() {
        let schema: serde_json::Value = serde_json::from_str(json_schema()).unwrap();
        let pattern = schema["properties"]["status"]["pattern"].as_str().unwrap();
        for status in EventStatus::ALL {
            for letter in status.as_str().chars() {
                let class = format!("[{}{letter}]", letter.to_ascii_uppercase());
                assert!(pattern.contains(&class), "{status} is not in {pattern}");
            }
        }
    }
}
