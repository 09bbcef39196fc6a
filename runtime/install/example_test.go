package install_test

import (
	"fmt"
	"slices"

	"github.com/onnx-ebm/onnx-ebm/runtime/install"
)

// The versions whose checksums are known, for one platform.
func Example() {
	fmt.Println(slices.Contains(install.Versions("linux/amd64", false), install.DefaultVersion))
	// Output: true
}
