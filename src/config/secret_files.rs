use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

/// A `…_FILE` variable that cannot be used: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The value is given twice.
    #[error("{0} and {0}_FILE are both set; set one of them")]
    Both(String),
    /// The value would begin with an invisible character.
    #[error("{variable} names a file that begins with a byte order mark ({path}); save it as UTF-8 without one")]
    ByteOrderMark {
        /// The variable that names the file.
        variable: String,
        /// The path that it names.
        path: String,
    },
    /// The file cannot be read as text.
    #[error("{variable} names a file that could not be read as text ({path})")]
    Unreadable {
        /// The variable that names the file.
        variable: String,
        /// The path that it names.
        path: String,
        #[source]
        /// The system's error.
        source: std::io::Error,
    },
}

/// Reads the files that `NAME_FILE` variables name, for each of our variables: Docker and Kubernetes mount secrets as files.
///
/// An empty variable counts as unset. One line break at the end is not part of the value. A flag still wins over the file; a variable beside it is an
/// error, because nobody could say which was meant.
pub fn values_from_files(
    names: impl IntoIterator<Item = String>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<BTreeMap<String, String>, SecretFileError> {
    let mut values = BTreeMap::new();
    for name in names {
        let variable = format!("{name}_FILE");
        let Some(path) = environment(&variable).filter(|path| !path.is_empty()) else { continue };
        if environment(&name).is_some() {
            return Err(SecretFileError::Both(name));
        }
        let name_of_file = path.to_string_lossy().into_owned();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SecretFileError::Unreadable { variable, path: name_of_file, source }),
        };
        if text.starts_with('\u{feff}') {
            return Err(SecretFileError::ByteOrderMark { variable, path: name_of_file });
        }
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        values.insert(name, text.to_owned());
    }
    Ok(values)
}
