package lakehook.kafka;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import kafka.Kafka;
import kafka.tools.StorageTool;

/**
 * Main SERVER.PROPERTIES [--add-scram …]: one Kafka broker in KRaft mode, its own controller, until it is killed or its
 * standard input ends. The log directory is formatted at its first start.
 */
public class Main {
    /** The same at each start, or a directory of an earlier one would not fit. */
    private static final String CLUSTER = "bGFrZWhvb2stdGVzdC0wMQ";

    public static void main(String[] args) throws Exception {
        stopWithStdin();
        List<String> format =
                new ArrayList<>(List.of("format", "--ignore-formatted", "-t", CLUSTER, "-c", args[0]));
        format.addAll(Arrays.asList(args).subList(1, args.length));
        int code = StorageTool.execute(format.toArray(new String[0]), System.out);
        if (code != 0) {
            System.exit(code);
        }
        Kafka.main(new String[] {args[0]});
    }

    /** A test that is killed outright can stop nothing, but its end of the pipe closes. */
    private static void stopWithStdin() {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (IOException e) {
                // As good as closed.
            }
            Runtime.getRuntime().halt(0);
        });
        watch.setDaemon(true);
        watch.start();
    }
}
