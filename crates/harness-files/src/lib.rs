//! Files at paths that other users may have had a hand in.
#![doc = include_str!("../README.md")]
//!
//! | room | what is in it |
//! |---|---|
//! | `trust` | who else may change what a folder has in it |
//! | `walk` | following a path, component by component, by descriptors |
//! | `write` | files that are there whole or not at all |
//! | `read` | regular files alone, of a bounded size |
//!
//! What a folder is to whoever walks through it:
//!
//! | | its entries | links in it | a subfolder of root's or ours |
//! |---|---|---|---|
//! | *ours*: root's or this user's, and nobody else may write to it | as we left them | followed | is judged by itself |
//! | *sticky*: the same, but others may add entries (`/tmp`) | those of root and of this user are as we left them | not followed | is judged by itself |
//! | *theirs*: anything else, and whatever lies below one | may be swapped at any instant | not followed | theirs |

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
