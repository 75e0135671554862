//! "Did you mean …?"

/// A question to append to a message, or nothing if no name is like the word.
pub fn did_you_mean<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    let slips = |name: &str| strsim::osa_distance(word, name);
    let best = names.min_by_key(|name| slips(name));
    // One slip is always likely, more of them only in long words.
    match best.filter(|name| slips(name) <= (word.len() / 3).max(1)) {
        Some(name) => format!("; did you mean {name:?}?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    //! Shows that a slip is recognised and that a strange word is not.
    use super::did_you_mean;

    #[test]
    fn suggestions() {
        let names = ["import", "export", "get", "put"];
        assert_eq!(did_you_mean("improt", names.into_iter()), "; did you mean \"import\"?");
        assert_eq!(did_you_mean("gte", names.into_iter()), "; did you mean \"get\"?");
        assert_eq!(did_you_mean("pt", names.into_iter()), "; did you mean \"put\"?");
        assert_eq!(did_you_mean("zzz", names.into_iter()), "");
    }
}
