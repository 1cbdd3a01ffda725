//! ringroom
fn main() {}
