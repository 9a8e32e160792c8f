//! Bytes where effects should be: what decodes is applied, twice, and gives one state.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg_machine::{Effect, Effects, PolicyName, State, StateLimits};

fuzz_target!(|data: &[u8]| {
    let mut state = State::new(1, PolicyName::default(), StateLimits::default());
    for effect in Effects::new(data) {
        let Ok((lsn, effect)) = effect else { break };
        // The limits of commands keep these out of real logs.
        if matches!(effect, Effect::Splice { offset, .. } if offset > 1 << 16)
            || effect.key().is_some_and(|key| key.len() > 1 << 14) {
            continue;
        }
        state.apply(lsn, &effect);
        let once = state.digest();
        state.apply(lsn, &effect);
        assert_eq!(once, state.digest(), "{effect:?}");
    }
});
