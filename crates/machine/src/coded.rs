//! Enums whose variants have a number each, in memory, in the log or in the store.

/// Declares an enum whose variants have a number each, and the way back from the number. Both come
/// from one list, so a variant more is read back, too, and every `match` over it has to name it.
macro_rules! coded {
    (
        $(#[$about:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$about_variant:meta])* $variant:ident = $code:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        $visibility enum $name {
            $($(#[$about_variant])* $variant = $code,)+
        }

        impl $name {
            /// The variant with this number, if there is one.
            #[inline]
            pub(crate) const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use coded;
