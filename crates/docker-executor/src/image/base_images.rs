//! The images that a Dockerfile starts from or copies from. A builder may have to pull them.

/// The images that a Dockerfile names.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Named {
    /// The images with plain names.
    pub(crate) images: Vec<String>,
    /// Whether other images are named with variables.
    pub(crate) others: bool,
}

/// Reads a Dockerfile.
pub(crate) fn named(dockerfile: &str) -> Named {
    let mut found = Named::default();
    let mut stages: Vec<String> = Vec::new();
    for line in dockerfile.replace("\\\n", " ").replace("\\\r\n", " ").lines() {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_uppercase();
        let image = match instruction.as_str() {
            "FROM" => words.by_ref().find(|word| !word.starts_with("--")),
            "COPY" => words.by_ref().find_map(|word| word.strip_prefix("--from=")),
            _ => None,
        };
        let Some(image) = image else { continue };
        // Stages have names or numbers.
        let is_stage = |name: &str| stages.iter().any(|stage| stage.eq_ignore_ascii_case(name));
        if image.contains('$') {
            found.others = true;
        } else if image != "scratch" && image.parse::<u32>().is_err() && !is_stage(image) {
            found.images.push(image.to_owned());
        }
        if instruction == "FROM" && words.next().is_some_and(|word| word.eq_ignore_ascii_case("as")) {
            stages.extend(words.next().map(str::to_owned));
        }
    }
    found.images.sort();
    found.images.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_found_and_stages_are_none() {
        let text = "# FROM nothing\nARG TAG=1\nFROM --platform=linux/amd64 one:1 AS Built\nRUN FROM=x\n\
                    from \\\n  registry.example/two\nCOPY --chown=1 --from=built /a /b\nCOPY --from=0 /a /b\n\
                    COPY --from=three /a /b\nFROM scratch\nFROM built AS last\n";
        let wanted = ["one:1", "registry.example/two", "three"].map(str::to_owned);
        assert_eq!(
            named(text),
            Named {
                images: wanted.to_vec(),
                others: false
            }
        );
        assert!(named("ARG BASE=x\nFROM ${BASE}\n").others);
        assert_eq!(named(""), Named::default());
    }
}
