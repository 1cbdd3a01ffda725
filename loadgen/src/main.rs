//! A load generator for WebSocket servers.

fn main() {}
