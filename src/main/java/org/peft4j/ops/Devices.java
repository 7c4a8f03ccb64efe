package org.peft4j.ops;

import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.peft4j.error.ConfigException;
import org.peft4j.host.MachineFacts;

/** The devices of this machine: which one a setting means, and what memory it has. */
public final class Devices {
    private static final String AUTO = "auto";
    private static final double OLDEST = 8.0;

    private Devices() {}

    /**
     * The device of a setting: {@code cpu}, {@code cuda:N}, or {@code auto}, the first card that can be used, else the CPU.
     *
     * @throws ConfigException if the card is not there or cannot be used; the message says what is missing and how to get it
     */
    public static Device choose(String setting) {
        if (setting.equals(AUTO)) {
            return automatic();
        }
        Device device = Device.parse(setting);
        if (!device.isCpu()) {
            check(device);
        }
        return device;
    }

    private static Device automatic() {
        return Ops.missingCuda().isEmpty()
                ? Ops.cudaDevices().stream()
                        .filter(Devices::isNewEnough)
                        .findFirst()
                        .map(card -> Device.cuda(card.index()))
                        .orElse(Device.CPU)
                : Device.CPU;
    }

    /** Why {@code auto} is the CPU although this is a build for cards; empty if it is not, or they can be used. */
    public static Optional<String> whyNoCard() {
        String missing = Ops.missingCuda();
        return NativeLibrary.meansCards() && !missing.isEmpty()
                ? Optional.of("device auto is the cpu here: " + missing)
                : Optional.empty();
    }

    private static void check(Device device) {
        String missing = Ops.missingCuda();
        if (!missing.isEmpty()) {
            throw refused(device, missing);
        }
        List<Ops.CudaDevice> cards = Ops.cudaDevices();
        if (device.card() >= cards.size()) {
            throw refused(device, "there is no such card; there are " + cards.size() + ": " + names(cards));
        }
        Ops.CudaDevice card = cards.get(device.card());
        if (!isNewEnough(card)) {
            throw refused(
                    device,
                    card.name() + " has compute capability " + card.computeCapability() + ", at least " + OLDEST
                            + " is needed (sm_80: A100, RTX 30 and later)");
        }
    }

    private static ConfigException refused(Device device, String why) {
        return new ConfigException(
                "device " + device + " cannot be used: " + why + "; device cpu computes on the processor");
    }

    private static boolean isNewEnough(Ops.CudaDevice card) {
        return Double.parseDouble(card.computeCapability()) >= OLDEST;
    }

    private static String names(List<Ops.CudaDevice> cards) {
        return cards.stream()
                .map(card -> "cuda:" + card.index() + " (" + card.name() + ")")
                .collect(Collectors.joining(", "));
    }

    /** Bytes that tensors may still take: of the machine's memory beside those that there are, of a card as its driver says. */
    public static long freeBytes(Device device) {
        if (device.isCpu()) {
            return Math.max(0, MachineFacts.memoryBytes() - Ops.liveBytes());
        }
        Ops.freeKeptBytes(device); // the driver counts what is kept for the next tensors as used
        return Ops.freeBytes(device);
    }
}
