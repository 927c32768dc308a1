use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A file of a test; removed when dropped, and so is the one that an export writes before it is complete.
pub struct TempFile(PathBuf);

impl TempFile {
    pub fn new(contents: impl AsRef<[u8]>) -> Self {
        let file = Self::absent();
        file.write(contents);
        file
    }

    /// A path without a file.
    pub fn absent() -> Self {
        Self(std::env::temp_dir().join(format!("snapshot-lifecycle-test-{}.json", Uuid::new_v4().simple())))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    /// Where `dlq export` writes until all is exported.
    pub fn partial(&self) -> PathBuf {
        self.0.with_extension("json.partial")
    }

    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    pub fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    pub fn write(&self, contents: impl AsRef<[u8]>) {
        std::fs::write(&self.0, contents).unwrap();
    }
}

impl AsRef<Path> for TempFile {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
        std::fs::remove_file(self.partial()).ok();
    }
}
