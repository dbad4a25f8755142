//! "Did you mean …": suggests the valid word nearest to a wrong one.

/// The candidate that is most like a word, if any is.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        // The difference in length is a lower bound of the distance.
        .filter(|candidate| candidate.len().abs_diff(lower.len()) <= 4 * allowed)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean `…`?"
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// How many words to list before only counting the rest.
const MAX_LISTED: usize = 20;

/// "`a`, `b`, `c`", or what to say when there is none.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let mut words = words.into_iter();
    let shown: Vec<String> = words
        .by_ref()
        .take(MAX_LISTED)
        .map(|word| format!("`{word}`"))
        .collect();
    match (shown.is_empty(), words.count()) {
        (true, _) => none.to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed([], "none"), "none");
        assert_eq!(listed(["a", "b"], "none"), "`a`, `b`");
        let many = listed(["x"; 100], "none");
        assert!(many.ends_with("`x`, `x` and 80 more"), "{many}");
    }

    #[test]
    fn the_nearest_word_is_found() {
        assert_eq!(nearest("retires", ["retries", "timeout"]), Some("retries"));
        assert_eq!(nearest("ÉTÉ", ["ete", "été"]), Some("été"));
        assert_eq!(nearest("xyz", ["retries", "timeout"]), None);
    }
}
