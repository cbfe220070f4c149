// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"strconv"
	"strings"
)

// Caps on a model card, in bytes.
const (
	maxCard  = 1 << 20 // of the whole file; a longer one says nothing
	maxFront = 64 << 10
)

// card is the front matter of a model card, as far as it matters: the words
// that stand under a key of cardKeys, "" for a value that is no word. The
// front matter is YAML, and what is read here are the forms in which people
// and the hub write words and lists of words there; a value in any other form
// says nothing. A reader of all of YAML would be a twentieth of metalrun.
type card map[string][]string

func cardKeys() []string { return []string{"license", "license_name", "base_model", "description"} }

// parseCard reads the front matter of a README.md. A card is written by hand:
// what does not parse says nothing.
func parseCard(data []byte) Facts {
	text := strings.TrimPrefix(strings.ReplaceAll(string(data), "\r\n", "\n"), "\ufeff")
	rest, ok := strings.CutPrefix(text, "---\n")
	front, _, closed := strings.Cut(rest, "\n---")
	if !ok || !closed || len(front) > maxFront {
		return Facts{}
	}
	c := readFront(front)
	return Facts{License: c.license(), BaseModel: c.first("base_model"), Description: c.first("description")}
}

// readFront reads the keys at the left margin; a card that has one of them
// twice says nothing.
func readFront(front string) card {
	c, lines := card{}, strings.Split(front, "\n")
	for i := 0; i < len(lines); {
		key, value, _ := strings.Cut(lines[i], ":")
		first := i + 1
		for i++; i < len(lines) && belongs(lines[i]); {
			i++
		}
		if !slices.Contains(cardKeys(), key) || (value != "" && value[0] != ' ') {
			continue
		}
		if _, twice := c[key]; twice {
			return nil
		}
		c[key] = words(strings.TrimSpace(value), lines[first:i])
	}
	return c
}

// belongs reports whether a line goes on with the value of the key above it.
func belongs(line string) bool {
	return line == "" || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "#") || line == "-" || strings.HasPrefix(line, "- ")
}

// words reads a value: what stands behind the key, and the lines below it.
func words(value string, below []string) []string {
	if value != "" && (value[0] == '|' || value[0] == '>') {
		if end := slices.IndexFunc(below, func(l string) bool { return l != "" && l[0] != ' ' }); end >= 0 {
			below = below[:end] // a comment at the margin ends the text
		}
		return []string{joined(below)}
	}
	below = slices.DeleteFunc(slices.Clone(below), func(l string) bool {
		l = strings.TrimSpace(l)
		return l == "" || l[0] == '#'
	})
	if value == "" || value[0] == '#' {
		if len(below) > 0 && strings.HasPrefix(strings.TrimSpace(below[0])+" ", "- ") {
			return items(below)
		}
		value = ""
	}
	value = joined(append([]string{value}, below...))
	if list, ok := strings.CutPrefix(value, "["); ok {
		return flow(list)
	}
	word, rest := scalar(value, "")
	if rest != "" {
		return nil
	}
	return []string{word}
}

// joined makes one line of several, with one blank between words.
func joined(lines []string) string {
	return strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

// items reads a list with one item a line; an item may go on in lines that
// stand further in.
func items(lines []string) (out []string) {
	margin := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
	for i := 0; i < len(lines); {
		item, ok := strings.CutPrefix(lines[i][min(margin, len(lines[i])):]+" ", "- ")
		if !ok {
			return nil
		}
		first := i + 1
		for i++; i < len(lines) && strings.HasPrefix(lines[i], strings.Repeat(" ", margin+1)); {
			i++
		}
		word, rest := scalar(joined(append([]string{item}, lines[first:i]...)), "")
		if rest != "" {
			return nil
		}
		out = append(out, word)
	}
	return out
}

// flow reads a list that is written as [a, "b"], behind its bracket.
func flow(s string) (out []string) {
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		rest := s
		if s[0] != ']' {
			var word string
			if word, rest = scalar(s, ",[]{}"); rest == s || rest == "" {
				return nil
			}
			out = append(out, word)
		}
		switch {
		case rest[0] == ',':
			s = rest[1:]
		case rest[0] == ']' && comment(rest[1:]):
			return out
		default:
			return nil
		}
	}
	return nil
}

// comment reports whether nothing but a comment is left of a line.
func comment(s string) bool {
	t := strings.TrimLeft(s, " ")
	return t == "" || (t[0] == '#' && len(t) < len(s))
}

// scalar reads one scalar at the beginning of s, up to a byte of stops where
// it is not quoted, and returns it, "" if it is no text, and what follows it.
func scalar(s, stops string) (word, rest string) {
	if s == "" {
		return "", ""
	}
	if s[0] == '"' || s[0] == '\'' {
		if word, rest = quoted(s); rest == "" || comment(rest) {
			return joined([]string{word}), ""
		}
		return joined([]string{word}), strings.TrimLeft(rest, " ")
	}
	end := len(s)
	if i := strings.IndexAny(s, stops); i >= 0 {
		end = i
	}
	word = s[:end]
	if i := strings.Index(" "+word, " #"); i >= 0 {
		if word = word[:max(i-1, 0)]; stops == "" {
			end = len(s)
		}
	}
	if word = strings.TrimSpace(word); !isText(word) {
		word = ""
	}
	return word, s[end:]
}

// escapes writes what YAML escapes in the way of Go, where that differs.
var escapes = strings.NewReplacer(`\\`, `\\`, `\"`, `\"`, `\/`, `/`, `\ `, ` `, `\x`, `\u00`, `\0`, `\u0000`, `\e`, `\u001b`, `\_`, `\u00a0`)

// quoted reads a scalar in quotes; rest is s if that is no such thing.
func quoted(s string) (word, rest string) {
	if s[0] == '"' {
		escaped := escapes.Replace(s)
		if prefix, err := strconv.QuotedPrefix(escaped); err == nil {
			word, _ = strconv.Unquote(prefix) // a prefix by that rule is quoted
			return word, escaped[len(prefix):]
		}
		return "", s
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '\'':
		case strings.HasPrefix(s[i+1:], "'"):
			i++
		default:
			return strings.ReplaceAll(s[1:i], "''", "'"), s[i+1:]
		}
	}
	return "", s
}

// isText reports whether YAML takes a scalar without quotes for a text:
// not for a number, a date, a truth value, null or the beginning of something
// else.
func isText(s string) bool {
	switch strings.ToLower(s) {
	case "", "~", "null", "true", "false", ".inf", "+.inf", "-.inf", ".nan", "=", "<<":
		return false
	}
	if strings.ContainsAny(s[:1], "&*!|>%@`{}[],\"'#") || strings.Contains(s+" ", ": ") || strings.ContainsAny(s[:1], "-?:") && (len(s) == 1 || s[1] == ' ') {
		return false
	}
	number := strings.ReplaceAll(s, "_", "")
	_, noInt := strconv.ParseInt(number, 0, 64)
	_, noFloat := strconv.ParseFloat(number, 64)
	return noInt != nil && noFloat != nil && !isDate(s)
}

// isDate reports whether a text begins as a date does: 2026-11-25.
func isDate(s string) bool {
	year, rest, ok := strings.Cut(s, "-")
	month, _, more := strings.Cut(rest, "-")
	_, noYear := strconv.Atoi(year)
	_, noMonth := strconv.Atoi(month)
	return ok && more && len(year) == 4 && noYear == nil && noMonth == nil
}

// license is all licences that the card names, joined by AND, since it does not
// say that one may choose.
func (c card) license() string {
	var all []string
	for _, id := range c["license"] {
		switch id = oneLine(id); id {
		case "unknown":
			continue
		case "other": // the hub's word for what it has no word for
			id = c.first("license_name")
		}
		if id = spdx(id); id != "" && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	if expression := strings.Join(all, " AND "); len(expression) <= maxFact {
		return expression
	}
	return ""
}

// first is the first word under a key, one line of at most maxFact bytes.
func (c card) first(key string) string {
	if len(c[key]) == 0 {
		return ""
	}
	if s := oneLine(c[key][0]); len(s) <= maxFact {
		return s
	}
	return ""
}
