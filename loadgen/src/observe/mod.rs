//! What the machine says meanwhile: processes' CPU and memory, and the kernel's own counters.

pub mod kernel;
pub mod process;
