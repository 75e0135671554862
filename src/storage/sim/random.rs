//! splitmix64: the only randomness of the simulated disk, so that a seed tells the whole story.
//!
//! Chosen because it is five lines and needs no state beyond a counter: `mix` of a seed and an index is a fair draw
//! by itself, which lets an outcome decide each change's fate without carrying a generator along.

/// The next number of the sequence that `state` counts.
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A draw that depends on both numbers.
pub(super) fn mix(seed: u64, index: u64) -> u64 {
    let mut state = seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93);
    next(&mut state)
}

/// A draw as an index below `bound`; 0 when there is nothing to choose from.
pub(super) fn below(draw: u64, bound: usize) -> usize {
    usize::try_from(draw.checked_rem(bound as u64).unwrap_or_default()).unwrap_or_default()
}
