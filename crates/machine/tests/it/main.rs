//! The machine by itself: what commands answer, and that the fold is one.

mod fold;
mod generate;
mod model;
mod scripts;
mod store;
mod support;
mod writes;
