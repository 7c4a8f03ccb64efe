"""Writes src/main/dist/licences/libtorch.txt: the licences of libtorch and of the sources that it is built with.

usage: python3 build-scripts/libtorch-licences.py WHEEL_OR_DIST_INFO

The argument is the wheel of the libtorch.version in pom.xml, or its installed torch-*.dist-info directory. To be run when that
version changes. Each text comes once, with the places it is for; texts of tools that only build or test are left out.
"""

import os
import re
import sys
import zipfile

OUT = os.path.join(os.path.dirname(__file__), "..", "src", "main", "dist", "licences", "libtorch.txt")
NOT_IN_THE_LIBRARY = re.compile(r"(^|/)(googletest|gtest|googlemock|benchmark|tests?|testing|docs|cpplint|pybind11|python|dart|swift)(/|$)")


def texts(source):
    """Yields (path below licenses/, text)."""
    if os.path.isdir(source):
        root = os.path.join(source, "licenses")
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield os.path.relpath(path, root), file.read()
        return
    with zipfile.ZipFile(source) as wheel:
        for name in wheel.namelist():
            if ".dist-info/licenses/" in name and not name.endswith("/"):
                yield name.split(".dist-info/licenses/")[1], wheel.read(name).decode("utf-8", "replace")


def main(source):
    places = {}  # the text without its white space: (text, places)
    for path, text in sorted(texts(source)):
        if not NOT_IN_THE_LIBRARY.search(os.path.dirname(path)):
            places.setdefault("".join(text.split()), (text, []))[1].append(os.path.dirname(path) or "libtorch itself")
    if not places:
        sys.exit("%s has no licenses" % source)
    with open(OUT, "w", encoding="utf-8") as out:
        out.write("Licences of libtorch and of the sources it is built with (made by build-scripts/libtorch-licences.py)\n")
        for text, names in sorted(places.values(), key=lambda entry: entry[1][0] != "libtorch itself"):
            lines = [line.rstrip() for line in text.replace("\r", "").strip().split("\n")]
            out.write("\n%s\n%s\n\n%s\n" % ("=" * 100, "\n".join(names), "\n".join(lines)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    main(sys.argv[1])
