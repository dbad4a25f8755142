//! What to say when the environment of a program is too large.

use std::borrow::Cow;

/// How many variables are named.
const NAMED: usize = 3;

/// That a kernel refused arguments and environment for their size (E2BIG), with the largest variables: `variables` are
/// names with the sizes of their values in bytes, `arguments` is the size of all arguments.
///
/// ```
/// use harness_model::environment::too_large;
///
/// let said = too_large([("SMALL".into(), 10), ("BIG".into(), 3_000_000)], 40);
/// assert!(said.contains("`BIG` has 2.8 MiB"));
/// ```
pub fn too_large<'a>(variables: impl IntoIterator<Item = (Cow<'a, str>, usize)>, arguments: usize) -> String {
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let named: Vec<String> = variables
        .iter()
        .take(NAMED)
        .map(|(name, length)| format!("`{name}` has {}", size(*length)))
        .collect();
    format!(
        "its variables and arguments are larger than the kernel takes: {}, all arguments {}",
        named.join(", "),
        size(arguments)
    )
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        // Only shown; a size beyond what this counts exactly does not exist.
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_variables_are_named_first() {
        let variables = [("A", 5), ("B", 200_000), ("C", 7), ("D", 3_500_000)];
        let variables = variables.map(|(name, size)| (Cow::from(name), size));
        assert_eq!(
            too_large(variables, 1023),
            "its variables and arguments are larger than the kernel takes: `D` has 3.3 MiB, `B` has 195 KiB, `C` has 7 \
             bytes, all arguments 1023 bytes"
        );
    }
}
