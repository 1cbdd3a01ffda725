//! What a room is made of: its name, its configuration, its history, who is in it and what they may
//! do. Every part is a plain data structure; the home and the hubs put them together.

pub mod attendance;
pub mod bookmark;
pub mod broker;
pub mod censor;
pub mod charter;
pub mod config;
pub mod entrance;
pub mod filter;
pub mod history;
pub mod home;
pub mod hub;
pub mod idempotency;
pub mod invited;
pub mod members;
pub mod name;
pub mod pattern;
pub mod presence;
pub mod publication;
pub mod refusal;
pub mod standing;
pub mod wire;
