//! `probe doctor` against a broker on which each fault is made for real: the code that it gives, and no other.

mod bed;
mod cli;
mod cloud;
mod faults;
mod other_end;
mod random;
mod region;
mod rehearsed;
mod setup;
mod static_files;
