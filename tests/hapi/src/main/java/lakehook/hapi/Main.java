package lakehook.hapi;

import ca.uhn.fhir.rest.server.RestfulServer;
import java.io.IOException;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** Main PORT: HAPI's JPA server at http://127.0.0.1:PORT/fhir until it is killed. */
public class Main {
    public static void main(String[] args) throws Exception {
        long start = System.currentTimeMillis();
        int port = Integer.parseInt(args[0]);
        if (Boolean.getBoolean("hapi.stopWithStdin")) {
            stopWithStdin();
        }
        AnnotationConfigApplicationContext beans = new AnnotationConfigApplicationContext(Config.class);

        RestfulServer fhir = beans.getBean(RestfulServer.class);

        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(port);
        server.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler();
        handler.addServlet(new ServletHolder(fhir), "/fhir/*");
        server.setHandler(handler);
        Runtime.getRuntime().addShutdownHook(new Thread(beans::close));
        server.start();
        System.out.printf(
                "READY http://127.0.0.1:%d/fhir after %d ms%n",
                connector.getLocalPort(), System.currentTimeMillis() - start);
        System.out.flush();
        server.join();
    }

    /**
     * A test that is killed outright can stop nothing, but its end of the pipe closes: without this, every Ctrl-C
     * would leave a JVM of 600 MB behind.
     */
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
