//! "Did you mean": the known word nearest to an unknown one.

/// The candidate that `word` was most likely meant to be, when one is near enough.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    let near = |candidate: &&str| {
        let lower = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&word, &lower);
        let reach = (word.chars().count().max(lower.chars().count()) / 3).max(1);
        (distance <= reach && distance < lower.chars().count()).then_some(distance)
    };
    candidates.into_iter().filter_map(|c| near(&c).map(|distance| (distance, c))).min().map(|(_, c)| c)
}

/// Words as a sentence lists them: `` `a`, `b` or `c` ``.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_not() {
        assert_eq!(suggest("replcas", ["size", "replicas", "run"]), Some("replicas"));
        assert_eq!(suggest("databse.main", ["database.main", "cache.redis"]), Some("database.main"));
        assert_eq!(suggest("zebra", ["size", "run"]), None);
        assert_eq!(suggest("", ["a"]), None);
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
