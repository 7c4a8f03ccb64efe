package org.peft4j.cli;

import com.fasterxml.jackson.core.JacksonException;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.error.Peft4jException;
import org.peft4j.io.SyntaxErrors;
import org.peft4j.lifetime.Interruption;
import picocli.CommandLine;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/** What the user is told about an exception, and the exit status that it means. */
final class Failure {
    static final int FAILED = 1;
    static final int WRONG_CALL = 2;
    static final int INTERRUPTED = 130;

    private Failure() {}

    /** Prints one message and returns the exit status. */
    static int report(Throwable thrown, PrintStream err, boolean stacktrace) {
        Throwable failure = unwrap(thrown);
        String message = printable(message(failure));
        err.println(message.startsWith("peft4j: ") ? message : "peft4j: " + message);
        if (stacktrace) {
            failure.printStackTrace(err);
        }
        return status(failure);
    }

    /** A terminal must not obey what a message quotes from a file. */
    private static String printable(String message) {
        StringBuilder out = new StringBuilder();
        message.codePoints().forEach(c -> {
            if (c != '\n' && Character.isISOControl(c)) {
                out.append(String.format("\\u%04x", c));
            } else {
                out.appendCodePoint(c);
            }
        });
        return out.toString();
    }

    private static Throwable unwrap(Throwable thrown) {
        Throwable failure = thrown;
        while (failure.getCause() != null
                && (failure instanceof UncheckedIOException
                        || failure instanceof CommandLine.ExecutionException
                        || failure instanceof ExceptionInInitializerError)) {
            failure = failure.getCause();
        }
        return failure;
    }

    static int status(Throwable failure) {
        if (Interruption.caused(failure)) {
            return INTERRUPTED;
        }
        boolean wrongCall = failure instanceof ParameterException
                || failure instanceof ConfigException
                || failure instanceof MalformedFileException
                || failure instanceof IllegalArgumentException
                || failure instanceof JacksonException
                || failure instanceof CharacterCodingException
                || failure instanceof NoSuchFileException
                || failure instanceof NotDirectoryException
                || failure instanceof AccessDeniedException
                || failure instanceof FileAlreadyExistsException;
        return wrongCall ? WRONG_CALL : FAILED;
    }

    private static String message(Throwable failure) {
        if (Interruption.caused(failure)) {
            return "interrupted; nothing was written";
        }
        if (failure instanceof ParameterException wrong) {
            return message(wrong);
        }
        String message = String.valueOf(failure.getMessage());
        if (failure instanceof FileSystemException file) {
            return message(file);
        }
        if (failure instanceof InvalidPathException path) { // made from a name inside a file
            return "'" + path.getInput() + "' is no path: " + path.getReason();
        }
        if (failure instanceof JacksonException json) { // a reader that forgot to name its file
            return "a file cannot be read: " + SyntaxErrors.describe(json);
        }
        if (failure instanceof CharacterCodingException) {
            return "a file cannot be read: its text is not UTF-8";
        }
        if (failure instanceof OutOfMemoryError) {
            return "out of memory: " + message + "; Java's heap has "
                    + (Runtime.getRuntime().maxMemory() >> 20)
                    + " MB (PEFT4J_JAVA_OPTS=-Xmx2g gives it more); a smaller batch_size or max_length needs less";
        }
        if (failure instanceof LinkageError) {
            return failure.getMessage() == null ? failure.toString() : message;
        }
        boolean meant = failure.getMessage() != null
                && (failure instanceof IOException
                        || failure instanceof IllegalArgumentException
                        || failure instanceof JacksonException
                        || failure instanceof CharacterCodingException
                        || failure instanceof IllegalStateException
                        || failure instanceof Peft4jException);
        return meant ? message : "internal error: " + failure + "; please report it, with what --stacktrace prints";
    }

    /** These have the file as their message and, maybe, a reason. */
    private static String message(FileSystemException failure) {
        if (failure.getReason() != null) {
            return failure.getMessage();
        }
        String file = String.valueOf(failure.getFile());
        if (failure instanceof NoSuchFileException) {
            return file + ": no such file or directory";
        }
        if (failure instanceof FileAlreadyExistsException) {
            return file + ": is there already";
        }
        if (failure instanceof NotDirectoryException) {
            return file + ": is no directory";
        }
        return file + ": " + (failure instanceof AccessDeniedException ? "permission denied" : failure.toString());
    }

    private static String message(ParameterException wrong) {
        CommandLine command = wrong.getCommandLine();
        String name = command.getCommandSpec().qualifiedName();
        String message = String.valueOf(wrong.getMessage());
        UnmatchedArgumentException unmatched = unmatched(wrong);
        if (unmatched != null) {
            message = unknown(unmatched, command) + didYouMean(unmatched.getSuggestions());
        }
        return message + "\nsee " + name + " --help";
    }

    /** A misspelt option is also a missing one, which picocli tells first. */
    private static @Nullable UnmatchedArgumentException unmatched(ParameterException wrong) {
        if (wrong instanceof UnmatchedArgumentException unmatched) {
            return unmatched;
        }
        List<String> rest = wrong.getCommandLine().getUnmatchedArguments();
        return wrong instanceof MissingParameterException && !rest.isEmpty()
                ? new UnmatchedArgumentException(wrong.getCommandLine(), rest)
                : null;
    }

    private static String unknown(UnmatchedArgumentException wrong, CommandLine command) {
        String first = wrong.getUnmatched().get(0);
        if (wrong.isUnknownOption()) {
            return "unknown option '" + first + "'";
        }
        return command.getSubcommands().isEmpty()
                ? "unexpected argument '" + first + "'"
                : "unknown command '" + first + "'";
    }

    private static String didYouMean(@Nullable List<String> suggestions) {
        return suggestions == null || suggestions.isEmpty()
                ? ""
                : "; did you mean " + String.join(" or ", suggestions.subList(0, Math.min(3, suggestions.size())))
                        + "?";
    }
}
