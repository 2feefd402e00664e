/// The `LIKE` pattern of what contains a text, whatever signs are in it.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::containing;

    #[test]
    fn signs_that_mean_something_in_a_pattern_stand_for_themselves() {
        assert_eq!(containing("ann"), "%ann%");
        assert_eq!(containing(r"10%_\"), r"%10\%\_\\%");
    }
}
