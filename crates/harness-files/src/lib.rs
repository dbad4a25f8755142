//! Files at paths that other users may be able to change.
#![doc = include_str!("../README.md")]
//!
//! | module | what is in it |
//! |---|---|
//! | `trust` | who else may change the content of a folder |
//! | `walk` | following a path through descriptors, component by component |
//! | `write` | files that exist completely or not at all |
//! | `read` | reading only regular files of limited size |
//!
//! How a folder is treated when a path leads through it:
//!
//! | folder | its entries | links in it | a subfolder that belongs to root or to us |
//! |---|---|---|---|
//! | *ours*: it belongs to root or to this user, and nobody else may write to it | as we left them | followed | is judged by itself |
//! | *sticky*: the same, but others may add entries (`/tmp`) | those of root and of this user are as we left them | not followed | is judged by itself |
//! | *theirs*: anything else, and everything below such a folder | may be swapped at any moment | not followed | theirs |

mod error;
mod read;
mod trust;
mod walk;
mod write;

pub use error::{FileError, Kind};
pub use read::{
    names_are_protected, open, open_folder_guarded, open_guarded, read, read_guarded, read_text,
    read_text_guarded,
};
pub use trust::{Exposure, Who};
pub use walk::{Place, open_folder, place};
pub use write::{Content, FileId, create, fresh, make_folder, write, write_as_user, write_if_ours};
