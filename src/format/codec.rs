//! The one place of `bincode`: how bodies become bytes.
//!
//! One named configuration: little-endian, variable-length integers, with a limit. It encodes only bodies whose
//! length and checksum a hand-specified frame has already checked. The limit is there all the same: without one, nine
//! bytes that claim four gigabytes would make the decoder ask for them.
//!
//! `bincode` 2 is no longer developed. That is why it stands behind these functions, why `docs/FORMAT.md` spells the
//! bytes out, and why golden files hold them: another encoder could take its place without a byte changing
//! (`docs/decisions/0001-bincode.md`).
//!
//! Variable-length integers: below 251 one byte; else a byte 251, 252 or 253 followed by a `u16`, `u32` or `u64`.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most that one decoded item may claim, in bytes: what a `u32` payload length can state, and a little more,
/// because a claim counts each number at its full width: the longest payload claims more bytes than it has.
const LIMIT: usize = (u32::MAX as usize).saturating_add(64);

/// The most that metadata (the manifest) may claim, in bytes.
pub const METADATA_LIMIT: usize = 1 << 20;

type Config<const N: usize> = Configuration<LittleEndian, Varint, Limit<N>>;

const fn config<const N: usize>() -> Config<N> {
    bincode::config::standard().with_little_endian().with_variable_int_encoding().with_limit::<N>()
}

/// Appends the encoding of `item` to `bytes`.
pub(crate) fn append<T: Encode>(item: T, bytes: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and no type of ours refuses to be encoded: an error here would be our own bug.
    let result = bincode::encode_into_std_write(item, bytes, config::<LIMIT>());
    assert!(result.is_ok(), "a body of our own cannot be encoded: {result:?}");
}

/// Reads one item from the front of `bytes`, borrowing from them; also says how many bytes it took.
pub(crate) fn borrow_one<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Option<(T, usize)> {
    bincode::borrow_decode_from_slice(bytes, config::<LIMIT>()).ok()
}

/// Reads metadata that must fill `bytes` exactly.
pub(crate) fn decode_metadata<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    let (item, taken) = bincode::decode_from_slice(bytes, config::<METADATA_LIMIT>()).ok()?;
    (taken == bytes.len()).then_some(item)
}

/// A value of the caller's own type, as serde sees it; otherwise why its type cannot be encoded.
pub(crate) fn encode_value<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    bincode::serde::encode_to_vec(value, config::<LIMIT>()).map_err(|error| match error {
        EncodeError::OtherString(reason) => reason,
        other => other.to_string(),
    })
}

/// Reads such a value, which must fill `bytes` exactly; otherwise why these are not its bytes.
///
/// What may be claimed depends on how many bytes there are, so that a few of another type do not make the decoder ask for
/// gigabytes; and it is enough for any value that was encoded: the widest number, 16 bytes, may have taken one. (A limit is
/// a constant of the decoder's type, hence the steps.)
pub(crate) fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    const KIB_64: usize = 1 << 16;
    const MIB: usize = 1 << 20;
    const MIB_16: usize = 1 << 24;
    const MIB_256: usize = 1 << 28;
    match bytes.len() {
        0..=KIB_64 => decode_claiming::<T, { 16 * KIB_64 }>(bytes),
        len if len <= MIB => decode_claiming::<T, { 16 * MIB }>(bytes),
        len if len <= MIB_16 => decode_claiming::<T, { 16 * MIB_16 }>(bytes),
        len if len <= MIB_256 => decode_claiming::<T, { MIB_256.saturating_mul(16) }>(bytes),
        _ => decode_claiming::<T, { LIMIT.saturating_mul(16) }>(bytes),
    }
}

fn decode_claiming<T: DeserializeOwned, const CLAIM: usize>(bytes: &[u8]) -> Result<T, String> {
    match bincode::serde::decode_from_slice(bytes, config::<CLAIM>()) {
        Ok((value, taken)) if taken == bytes.len() => Ok(value),
        Ok((_, taken)) => Err(format!("{} bytes are left over", bytes.len() - taken)),
        Err(DecodeError::UnexpectedEnd { .. } | DecodeError::LimitExceeded) => {
            Err("the bytes end too early".to_owned())
        }
        Err(DecodeError::OtherString(reason)) => Err(reason),
        Err(other) => Err(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    //! Shows that what may be claimed is never less than a value needs.
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        // The widest numbers in the fewest bytes, around where more may be claimed.
        for count in [0, 1, 65_530, 65_533, 65_534, 1_048_570, 1_048_571, 1_048_572, 16_777_211, 16_777_212] {
            let bytes = encode_value(&vec![0_u128; count]).unwrap();
            assert_eq!(decode_value::<Vec<u128>>(&bytes).map(|value| value.len()), Ok(count));
        }
        let claims_a_gigabyte = [0xfc, 0, 0, 0, 0x40];
        assert_eq!(decode_value::<String>(&claims_a_gigabyte), Err("the bytes end too early".to_owned()));
    }
}
