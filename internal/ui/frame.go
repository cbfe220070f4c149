// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package ui

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// maxRows bounds the lines of items on a large screen: more cannot be read.
const maxRows = 12

// frame renders what is under way as lines that fit a screen, without line ends.
// The last column stays free, because some terminals break the line there.
func frame(s *state, columns, rows int, now time.Time) []string {
	if s.idle() {
		return nil
	}
	columns--
	room := min(rows-1, maxRows) // the cursor stands below
	withTotal := s.total.began > 1 || s.total.expected > 1
	if withTotal {
		room--
	}
	shown := min(len(s.items), max(room, 0))
	var lines []string
	for _, i := range s.items[:shown] {
		lines = append(lines, i.line(columns, now))
	}
	if withTotal && rows > 1 {
		lines = append(lines, s.totalLine(columns, len(s.items)-shown, now))
	}
	return lines
}

// line is the item's line: name left, what fits of the rest right.
func (i *item) line(columns int, now time.Time) string {
	elapsed := max(now.Sub(i.started), 0)
	if !i.reports { // nobody tells how far it is
		spin := string(`|/-\`[elapsed/(time.Second/10)%4])
		return join(columns, minName, "  "+line(i.what), spin, sizeOf(i.size), "", clock(elapsed))
	}
	perSecond := i.meter.rate()
	return join(columns, minName, "  "+line(i.what), progress(i.offset, i.size, perSecond)...)
}

// totalLine is the line of the sum; hidden items have no line of their own.
func (s *state) totalLine(columns, hidden int, now time.Time) string {
	t := &s.total
	name := fmt.Sprintf("%d done, %d under way", t.done, len(s.items))
	if t.expected > 0 {
		name = fmt.Sprintf("%d of %d done, %d under way", t.done, t.expected, len(s.items))
	}
	if hidden > 0 {
		name += fmt.Sprintf(", %d of them not shown", hidden)
	}
	return join(columns, len(name), name, progress(s.moved(), max(t.size, t.known), s.rate(now))...)
}

// progress lists what can be said of bytes that move, what matters most first.
func progress(n, size int64, perSecond float64) []string {
	if size <= 0 {
		return []string{"", Bytes(n), rate(perSecond)}
	}
	percent := fmt.Sprintf("%3d%%", min(n*100/size, 100))
	eta := ""
	if d := left(n, size, perSecond); d > 0 {
		eta = clock(d) + " left"
	}
	return []string{percent, fmt.Sprintf("%s of %s", Bytes(n), Bytes(size)), rate(perSecond), eta}
}

// sizeOf prints a size that is known.
func sizeOf(n int64) string {
	if n <= 0 {
		return ""
	}
	return Bytes(n)
}

// minName is the width that a name keeps when cells are added on its right.
const minName = 24

// join puts name and cells on one line of exactly that many columns, or fewer:
// from the first cell on that would leave the name less than keep columns cells
// are left out, but never the first; a name that is too long loses its middle.
func join(columns, keep int, name string, cells ...string) string {
	right := ""
	for n, c := range cells {
		next := fmt.Sprintf("%s  %*s", right, cellWidths[n], c)
		if textWidth(next)+min(textWidth(name), keep) > columns && n > 0 {
			break
		}
		right = next
	}
	if textWidth(right) >= columns {
		return shorten(name, columns)
	}
	name = shorten(name, columns-textWidth(right))
	return name + strings.Repeat(" ", columns-textWidth(right)-textWidth(name)) + right
}

// cellWidths keep the cells of lines under one another.
var cellWidths = [...]int{4, 16, 9, 11}

// shorten cuts the middle out of text that is wider than columns.
func shorten(s string, columns int) string {
	if textWidth(s) <= columns {
		return s
	}
	if columns < 1 {
		return ""
	}
	runes := []rune(s)
	head, tail := 0, len(runes)
	used := 1 // the dots
	for head < tail {
		front := used%2 == 1
		r := runes[tail-1]
		if front {
			r = runes[head]
		}
		if used += runeWidth(r); used > columns {
			break
		}
		if front {
			head++
		} else {
			tail--
		}
	}
	return string(runes[:head]) + "…" + string(runes[tail:])
}

// textWidth is the number of columns that text takes.
func textWidth(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// clock prints a duration for a human: 7s, 4m05s, 2h03m.
func clock(d time.Duration) string {
	s := int((d + time.Second/2) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
}
