package install

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// DefaultVersion is the version that is installed if none is named.
const DefaultVersion = "1.27.0"

// Sources of a library.
const (
	Pip = "pip"
	Npm = "npm"
)

// release is what one archive holds for one platform.
type release struct {
	version, platform, from string
	cuda                    bool
	files                   []file // the library is the first
}

// file is a member of an archive, by its base name or path end, and the
// SHA-256 of its contents; without a sum it is not checked.
type file struct{ member, sum string }

// pinned lists the known releases. The library is the same file in the wheels
// of all Python versions.
var pinned = []release{
	{"1.27.0", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.27.0", "b5c9d4f124d24707f514dad926dc181820807178855df1c528e3addb2dd0e6f7"}}},
	{"1.27.0", "linux/amd64", Npm, false, []file{{"linux/x64/libonnxruntime.so.1", "d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221"}}},
	{"1.27.0", "linux/arm64", Pip, false, []file{{"libonnxruntime.so.1.27.0", "9275ef52956228686ae47b0219f67476a1148505084bdc5571e7bf1bf69b11f2"}}},
	{"1.27.0", "linux/arm64", Npm, false, []file{{"linux/arm64/libonnxruntime.so.1", "c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f"}}},
	{"1.27.0", "darwin/arm64", Pip, false, []file{{"libonnxruntime.1.27.0.dylib", "49422a138fff12d7fcbd544373aefbffd510e473e08e18af28a8ecc3581029bf"}}},
	{"1.27.0", "darwin/arm64", Npm, false, []file{{"darwin/arm64/libonnxruntime.1.27.0.dylib", "89f692a3a1a224e4ad0b796b0e7c0bd81113b0741bfe84211eceef14d05a9e59"}}},
	{"1.27.0", "windows/amd64", Pip, false, []file{{"onnxruntime.dll", "bbb4ff18db820c24ad6d9196ecdc7a62d6099268eaadf264813a23591d4d15cc"}}},
	{"1.27.0", "linux/amd64", Pip, true, []file{
		{"libonnxruntime.so.1.27.0", "184096f611d6cfff75f5d4cbaf01f76d736ab10d408d335fca0c85e5a79018db"},
		{"libonnxruntime_providers_shared.so", "086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d"},
		{"libonnxruntime_providers_cuda.so", "9aacf1788ceae09ca362cbf9bb3c1d69c94cec86e24310de7ad14e6b05b5bb5d"},
	}},
	{"1.26.0", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.26.0", "50775d390eb55e7abd9f6d734da103a04f0e5342ef0a76b1c6ec795544439295"}}},
	{"1.26.0", "linux/amd64", Npm, false, []file{{"linux/x64/libonnxruntime.so.1", "57625571931dd813257ed422fe73ba2c25aadcc5640d9c6743e71540135c227e"}}},
	{"1.25.1", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.25.1", "c450a686085f441803ef914fc7e68bd417452e34ba5573344dc3dd40c0c71896"}}},
	{"1.25.1", "linux/amd64", Npm, false, []file{{"linux/x64/libonnxruntime.so.1", "18a8c9d6897f81d865728ffb2362536499739cb9cd1b62ed94f4aaccd9323ad7"}}},
	{"1.25.0", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.25.0", "6976c9c6b2db120e835a7091e2f4bd2308a76d3856a7181beb7e7a9b1e08f9e5"}}},
	{"1.24.4", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.24.4", "2d518e11c7767f9fdc4413bdbeb45acf30db504ff76a82fc19d9238a3f9f6c24"}}},
	{"1.24.3", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.24.3", "12e097b0705253189cd2cde73a091febefb7348edcfe606cd54aec010a4bab2b"}}},
	{"1.24.3", "linux/amd64", Npm, false, []file{{"linux/x64/libonnxruntime.so.1", "92ba8e44d31b80a34f5e805076a044122c3be1fffe0d88ed790de7267b0b2682"}}},
	{"1.24.2", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.24.2", "7d5242d7bfbb8b0a2c6ae4d4883adac34c883129c8091f74f3e1bc9f740b1d62"}}},
	{"1.24.1", "linux/amd64", Pip, false, []file{{"libonnxruntime.so.1.24.1", "94ac52f650e195b784587e1cb7d25b4bf074048b50fa9a7127795b2ed34db22e"}}},
}

// Versions lists the pinned versions for a platform ("linux/amd64"), newest first.
func Versions(platform string, cuda bool) []string {
	var list []string
	for _, r := range pinned {
		if r.platform == platform && r.cuda == cuda && !slices.Contains(list, r.version) {
			list = append(list, r.version)
		}
	}
	slices.SortFunc(list, func(a, b string) int { return compareVersions(b, a) })
	return list
}

func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}

// unpinned describes where the library of an unknown version should lie.
func unpinned(version, platform, from string, cuda bool) release {
	system, arch, _ := strings.Cut(platform, "/")
	r := release{version: version, platform: platform, from: from, cuda: cuda}
	switch {
	case from == Npm && system == "linux":
		r.files = []file{{member: "linux/" + strings.Replace(arch, "amd64", "x64", 1) + "/libonnxruntime.so.1"}}
	case from == Npm:
		r.files = []file{{member: system + "/" + arch + "/libonnxruntime." + version + ".dylib"}}
	case system == "windows":
		r.files = []file{{member: "onnxruntime.dll"}}
	case system == "darwin":
		r.files = []file{{member: "libonnxruntime." + version + ".dylib"}}
	default:
		r.files = []file{{member: "libonnxruntime.so." + version}}
	}
	if cuda {
		r.files = append(r.files, file{member: "libonnxruntime_providers_shared.so"}, file{member: "libonnxruntime_providers_cuda.so"})
	}
	return r
}
