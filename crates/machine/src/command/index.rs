//! Finding a command by name: one multiplication, one comparison.

use super::{COMMANDS, Command};
use std::sync::LazyLock;

const SLOTS: usize = 1_024;
const NAME_MAX_BYTES: usize = 24;

struct Index {
    slots: Vec<Option<&'static Command>>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut slots = vec![None; SLOTS];
    for command in COMMANDS {
        let mut at = slot_of(command.name.as_bytes());
        while slots.get(at).is_some_and(Option::is_some) {
            at = (at + 1) % SLOTS;
        }
        if let Some(slot) = slots.get_mut(at) {
            *slot = Some(command);
        }
    }
    Index { slots }
});

/// The command of this name, in any case.
pub fn find_command(name: &[u8]) -> Option<&'static Command> {
    if name.len() > NAME_MAX_BYTES {
        return None;
    }
    let mut at = slot_of(name);
    loop {
        let command = (*INDEX.slots.get(at)?)?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        at = (at + 1) % SLOTS;
    }
}

fn slot_of(name: &[u8]) -> usize {
    // First, middle and last letters and the length tell nearly all names apart.
    let mut word = [0u8; 8];
    for (slot, byte) in word.iter_mut().zip(name) {
        // Clears the bit in which capitals and small letters differ.
        *slot = byte & 0xDF;
    }
    let last = name.last().copied().unwrap_or_default() & 0xDF;
    let packed = u64::from_le_bytes(word) ^ (u64::from(last) << 32) ^ (name.len() as u64) << 56;
    (packed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_command_in_any_case_and_nothing_else() {
        for command in COMMANDS {
            assert_eq!(find_command(command.name.as_bytes()).map(|c| c.name), Some(command.name));
            let small = command.name.to_lowercase();
            assert_eq!(find_command(small.as_bytes()).map(|c| c.name), Some(command.name));
            let longer = format!("{}x", command.name);
            assert!(find_command(longer.as_bytes()).is_none());
        }
        assert!(find_command(b"").is_none());
        assert!(find_command(&[b'A'; 1_000]).is_none());
    }

    #[test]
    fn the_table_is_sorted_and_has_no_name_twice() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
