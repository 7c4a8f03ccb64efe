package org.peft4j.io;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Recognizes, by name or by first bytes, files that people have instead of the ones we read, and says what to do with
 * them. Pickle files are never read: loading one can run any code that its author put into it.
 */
public final class ForeignFormats {
    /** What a file should have been: the way to get there depends on it. */
    public enum Wanted {
        /** Tensors: a safetensors file. */
        WEIGHTS,
        /** Rows: JSONL or CSV. */
        ROWS,
        /** Anything else that is text: JSON, YAML. */
        TEXT
    }

    /** As many bytes of a file's beginning are enough to know it. */
    public static final int BYTES = 512;

    private static final List<String> PICKLE_SUFFIXES = List.of(".bin", ".pt", ".pth", ".ckpt", ".pkl");

    private static final String PICKLE = "a pickle file, which is not read because loading one can run any code in it";

    /** The file names are OLD and NEW, not the real ones: nobody should paste a stranger's file name into a shell. */
    private static final String CONVERT = PICKLE + ";"
            + " convert it once, where PyTorch is installed: python -c \"import sys, torch;"
            + " from safetensors.torch import save_file;"
            + " w = torch.load(sys.argv[1], map_location='cpu', weights_only=True);"
            + " save_file({k: v.clone().contiguous() for k, v in w.items()}, sys.argv[2], metadata={'format': 'pt'})\""
            + " OLD NEW.safetensors";

    /** A format that begins with certain bytes (as Latin-1), and the function of pandas that reads its rows. */
    private record Magic(
            String bytes, String name, @Nullable String pandas) {}

    private static final List<Magic> BINARY = List.of(
            new Magic("PAR1", "a Parquet file", "read_parquet"),
            new Magic("ARROW1", "an Arrow file", "read_feather"),
            new Magic("FEA1", "a Feather file", "read_feather"),
            new Magic("ORC", "an ORC file", "read_orc"),
            new Magic("\u00d0\u00cf\u0011\u00e0", "a workbook of an old Excel", "read_excel"),
            new Magic("\u0089HDF", "an HDF5 file", null),
            new Magic("\u0093NUMPY", "a NumPy file", null),
            new Magic("SQLite format 3", "a SQLite database", null),
            new Magic("GGUF", "GGUF", null),
            new Magic("%PDF", "a PDF document", null),
            new Magic("\u0089PNG", "a picture", null),
            new Magic("\u00ff\u00d8\u00ff", "a picture", null),
            new Magic("GIF8", "a picture", null),
            new Magic("\u007fELF", "a program", null));

    /** Compressed files by their first bytes, and what unpacks them. */
    private static final Map<String, String> COMPRESSED = Map.of(
            "\u001f\u008b", "gzip -d",
            "BZh", "bzip2 -d",
            "\u00fd7zXZ", "xz -d",
            "\u0028\u00b5\u002f\u00fd", "zstd -d",
            "7z\u00bc\u00af", "7z x");

    private static final Pattern HTML = Pattern.compile("\\s*<(!doctype html|html|head|body)\\b.*", Pattern.DOTALL);

    private ForeignFormats() {}

    /** Whether the name is one that PyTorch gives to pickle files. */
    static boolean isPickleName(String fileName) {
        return PICKLE_SUFFIXES.stream().anyMatch(fileName::endsWith);
    }

    /** What to say about a file with such a name. */
    static String refusePickle(String fileName) {
        return "'" + fileName + "' is " + CONVERT;
    }

    /** As {@link #describe(byte[], Wanted)} for a text (JSON, YAML). */
    public static @Nullable String describe(byte[] start) {
        return describe(start, Wanted.TEXT);
    }

    /**
     * What a file is that begins with these bytes and is not what was wanted, with the way out; null if it is none that
     * we know, so that it may well be the wanted one. The words fit behind a file's name and a colon.
     *
     * @param start  the first bytes of the file, {@link #BYTES} or all there are; fewer recognize less
     * @param wanted what the file should be. {@code WEIGHTS} is to be asked only of a file that turned out to be no
     *               safetensors file: a header of 640 bytes makes a valid one begin as a pickle does.
     */
    public static @Nullable String describe(byte[] start, Wanted wanted) {
        String text = new String(start, 0, Math.min(start.length, BYTES), StandardCharsets.ISO_8859_1);
        if (text.startsWith("version https://git-lfs") || (wanted == Wanted.WEIGHTS && text.startsWith("version "))) {
            return "the content is a Git LFS pointer, not the file itself; fetch it with: git lfs pull";
        }
        if (HTML.matcher(text.toLowerCase(Locale.ROOT)).matches()
                || (wanted == Wanted.WEIGHTS && text.startsWith("<"))) {
            return "the content is a web page (HTML), not the file itself; download the file, not the page about it";
        }
        if (text.startsWith("PK\u0003\u0004") || text.startsWith("PK\u0005\u0006")) {
            return zip(text, wanted);
        }
        if (text.startsWith("\u0080") && text.length() > 1 && text.charAt(1) <= 5) {
            return "the content is " + pickle(wanted);
        }
        for (Magic magic : BINARY) {
            if (text.startsWith(magic.bytes()) && !isTable(text)) {
                return "the content is " + magic.name() + remedy(magic.pandas(), wanted);
            }
        }
        for (Map.Entry<String, String> compressed : COMPRESSED.entrySet()) {
            if (text.startsWith(compressed.getKey()) && !isTable(text)) {
                return "the content is compressed; unpack it first: " + compressed.getValue() + " FILE";
            }
        }
        if (wanted == Wanted.WEIGHTS) {
            return null;
        }
        if (text.length() > 9 && text.startsWith("\0\0\0", 5) && text.charAt(8) == '{') {
            return "the content is a safetensors file" + remedy(null, wanted);
        }
        String encoding = encoding(text);
        return encoding == null
                ? null
                : "the text is " + encoding.replaceFirst("[LB]E$", "") + ", expected UTF-8; convert it: iconv -f "
                        + encoding + " -t UTF-8 OLD > NEW";
    }

    private static String zip(String text, Wanted wanted) {
        if (wanted == Wanted.WEIGHTS || text.contains("data.pkl")) {
            return "the content is " + pickle(wanted);
        }
        if (text.contains("[Content_Types].xml") || text.contains("docProps/") || text.contains("xl/")) {
            return "the content is an Excel workbook (xlsx)" + remedy("read_excel", wanted);
        }
        if (text.contains("opendocument.spreadsheet")) {
            return "the content is a spreadsheet (ods)" + remedy("read_excel", wanted);
        }
        return "the content is a zip archive; unpack it first: unzip FILE";
    }

    private static String pickle(Wanted wanted) {
        return wanted == Wanted.WEIGHTS ? CONVERT : PICKLE + remedy(null, wanted);
    }

    private static String remedy(@Nullable String pandas, Wanted wanted) {
        return switch (wanted) {
            case WEIGHTS -> ", not safetensors; take the model in safetensors form";
            case TEXT -> ", not the text that is expected here";
            case ROWS ->
                "; expected rows as JSONL or CSV"
                        + (pandas == null
                                ? ""
                                : "; convert it, where Python has pandas: python -c \"import sys, pandas; pandas."
                                        + pandas
                                        + "(sys.argv[1]).to_json(sys.argv[2], orient='records', lines=True,"
                                        + " force_ascii=False)\" OLD NEW.jsonl");
        };
    }

    /** The encoding that byte order mark or zeros between the letters show, by iconv's name; null for UTF-8 and others. */
    private static @Nullable String encoding(String text) {
        if (text.startsWith("\u00ff\u00fe\0\0") || text.startsWith("\0\0\u00fe\u00ff")) {
            return "UTF-32";
        }
        if (text.startsWith("\u00ff\u00fe") || text.startsWith("\u00fe\u00ff")) {
            return "UTF-16";
        }
        int[] zeros = new int[4];
        int length = Math.min(text.length(), 16) & ~3; // the names of columns, which are letters of English as a rule
        for (int i = 0; i < length; i++) {
            zeros[i & 3] += text.charAt(i) == 0 ? 1 : 0;
        }
        int all = length / 4;
        if (all == 0) {
            return null;
        }
        boolean[] empty = {zeros[0] == all, zeros[1] == all, zeros[2] == all, zeros[3] == all};
        if (empty[1] && empty[3] && zeros[0] == 0) {
            return empty[2] ? "UTF-32LE" : zeros[2] == 0 ? "UTF-16LE" : null;
        }
        if (empty[0] && empty[2] && zeros[3] == 0) {
            return empty[1] ? "UTF-32BE" : zeros[1] == 0 ? "UTF-16BE" : null;
        }
        return null;
    }

    /** A CSV file whose first column is called FEA1 is one. */
    private static boolean isTable(String text) {
        return text.contains(",") && text.chars().allMatch(c -> c >= ' ' || c == '\n' || c == '\r' || c == '\t');
    }
}
