//! HTTP/2 on both sides, and what is carried in it, through the binary.

mod combos;
mod endpoints;
mod flow;
mod frames;
mod grpc;
mod life;
mod offenders;
mod policy;
mod streams;
mod support;
mod unread;
mod web;
mod websocket;
