//! Repairs the values in a frame where they are, without changing any length.

/// Nesting of tables and arrays that is left as it is: more than anybody needs, and far from what a stack holds.
pub(super) const MAX_DEPTH: usize = 32;

/// A field of a method or of the properties.
#[derive(Clone, Copy)]
pub(super) enum Field {
    ShortString,
    Table,
    Bytes(usize),
}

/// The bytes are no value of the type.
#[derive(Debug)]
pub(super) struct Malformed;

/// Repairs the field at the start of the bytes; returns what follows it.
pub(super) fn repair_field(field: Field, bytes: &mut [u8]) -> Result<&mut [u8], Malformed> {
    match field {
        Field::ShortString => repair_short_string(bytes),
        Field::Bytes(count) => skip(bytes, count),
        Field::Table => {
            let (table, rest) = split_sized(bytes)?;
            repair_table(table, 0)?;
            Ok(rest)
        }
    }
}

fn repair_table(mut entries: &mut [u8], depth: usize) -> Result<(), Malformed> {
    while !entries.is_empty() {
        entries = repair_value(repair_short_string(entries)?, depth)?;
    }
    Ok(())
}

fn repair_array(mut values: &mut [u8], depth: usize) -> Result<(), Malformed> {
    while !values.is_empty() {
        values = repair_value(values, depth)?;
    }
    Ok(())
}

/// Repairs the value at the start of the bytes; returns what follows it.
pub(super) fn repair_value(bytes: &mut [u8], depth: usize) -> Result<&mut [u8], Malformed> {
    let (kind, bytes) = bytes.split_first_mut().ok_or(Malformed)?;
    match *kind {
        b'V' => Ok(bytes),
        b't' | b'b' | b'B' => skip(bytes, 1),
        b's' | b'U' | b'u' => skip(bytes, 2),
        b'I' | b'i' | b'f' => skip(bytes, 4),
        b'D' => skip(bytes, 5),
        b'L' | b'l' | b'd' | b'T' => skip(bytes, 8),
        b'S' | b'x' => Ok(split_sized(bytes)?.1),
        b'A' | b'F' => {
            let (inner, rest) = split_sized(bytes)?;
            let repaired = match *kind {
                _ if depth == MAX_DEPTH => Err(Malformed),
                b'A' => repair_array(inner, depth + 1),
                _ => repair_table(inner, depth + 1),
            };
            if repaired.is_err() {
                *kind = b'x';
            }
            Ok(rest)
        }
        _ => Err(Malformed),
    }
}

pub(super) fn repair_short_string(bytes: &mut [u8]) -> Result<&mut [u8], Malformed> {
    let (length, bytes) = bytes.split_first_mut().ok_or(Malformed)?;
    let (text, rest) = bytes.split_at_mut_checked(usize::from(*length)).ok_or(Malformed)?;
    make_utf8(text);
    Ok(rest)
}

/// Each byte that is not part of a UTF-8 character becomes a question mark.
pub(super) fn make_utf8(mut text: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(text) {
        let bad = &mut text[error.valid_up_to()..];
        let length = error.error_len().unwrap_or(bad.len());
        bad[..length].fill(b'?');
        text = &mut bad[length..];
    }
}

fn skip(bytes: &mut [u8], count: usize) -> Result<&mut [u8], Malformed> {
    bytes.get_mut(count..).ok_or(Malformed)
}

/// The bytes that a length of four bytes counts, and what follows them.
pub(super) fn split_sized(bytes: &mut [u8]) -> Result<(&mut [u8], &mut [u8]), Malformed> {
    let (size, bytes) = bytes.split_first_chunk_mut::<4>().ok_or(Malformed)?;
    let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| Malformed)?;
    bytes.split_at_mut_checked(size).ok_or(Malformed)
}
