//! The secret behind tokens and refused inputs' hashes, and other things drawn by lot.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("read or make the secret")]
    Io(#[from] io::Error),
    #[error("read a secret of {0} bytes, expected 32")]
    Length(usize),
}

/// Reads the secret; makes one where there is none. Whoever loses it can't compare tokens of
/// before and after.
///
/// # Errors
/// When the file can't be read or made, or has another length.
pub fn load(path: &Path) -> Result<[u8; 32], SecretError> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let length = bytes.len();
            <[u8; 32]>::try_from(bytes).map_err(|_| SecretError::Length(length))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = random()?;
            write_new(path, &secret)?;
            Ok(secret)
        }
        Err(error) => Err(error.into()),
    }
}

/// Identity of this life of the process.
///
/// # Errors
/// When the system gives no random bytes.
pub fn life_id() -> io::Result<String> {
    let bytes: [u8; 16] = random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const LENGTH: usize>() -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Only its owner may read it, and half of it is never seen.
fn write_new(path: &Path, secret: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_refused_when_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("hash-key");
        let first = load(&path).unwrap();
        assert_eq!(load(&path).unwrap(), first);
        std::fs::write(&path, &first[..31]).unwrap();
        assert!(matches!(load(&path), Err(SecretError::Length(31))));
    }
}
