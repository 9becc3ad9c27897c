package verify

import "strconv"

// Class is the rule of the dataset contract that applies to a file.
type Class uint8

// The classes of a dataset's files. Primary to Auxiliary are synchronized; Runtime and Ignored never are.
const (
	Primary Class = iota
	Meta
	Events
	Snapshots
	Derived
	Auxiliary
	Runtime
	Ignored
)

var classNames = [...]string{"primary", "meta", "events", "snapshots", "derived", "auxiliary", "runtime", "ignored"}

// String is the class's name in the contract.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "class " + strconv.Itoa(int(c))
}

// Synced reports whether files of the class are transferred, counted and compared.
func (c Class) Synced() bool { return c < Runtime }

// InPlace reports whether writers may change a file of the class through its inode, instead of replacing it by rename. A
// kept generation must not share such an inode.
func (c Class) InPlace() bool { return c == Meta || c == Events || c == Auxiliary }
