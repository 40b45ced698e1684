package lakehook.hapi;

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.batch2.maintenance.JobMaintenanceServiceImpl;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.interceptor.api.IInterceptorService;
import ca.uhn.fhir.jpa.api.IDaoRegistry;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.MemoryBinaryStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HibernatePropertiesProvider;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.DaoRegistryResourceSupportedSvc;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.SubscriptionTriggeringProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.search.IStaleSearchDeletingSvc;
import ca.uhn.fhir.jpa.search.StaleSearchDeletingSvcImpl;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.channel.impl.RetryPolicyProvider;
import ca.uhn.fhir.jpa.subscription.match.config.SubscriptionProcessorConfig;
import ca.uhn.fhir.jpa.subscription.match.deliver.email.IEmailSender;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.IResourceSupportedSvc;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import com.zaxxer.hikari.HikariDataSource;
import jakarta.persistence.EntityManagerFactory;
import java.util.HashMap;
import java.util.Map;
import javax.sql.DataSource;
import org.hl7.fhir.dstu2.model.Subscription.SubscriptionChannelType;
import org.springframework.beans.factory.config.BeanPostProcessor;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;
import org.springframework.retry.RetryPolicy;
import org.springframework.retry.backoff.BackOffPolicy;
import org.springframework.retry.backoff.ExponentialBackOffPolicy;
import org.springframework.retry.policy.TimeoutRetryPolicy;

/** Everything HAPI's JPA server needs: an H2 database, R4, rest-hook subscriptions. */
@Configuration
@Import({
    JpaR4Config.class,
    ThreadPoolFactoryConfig.class,
    JpaBatch2Config.class,
    Batch2JobsConfig.class,
    SubscriptionSubmitterConfig.class,
    SubscriptionProcessorConfig.class,
    SubscriptionChannelConfig.class
})
public class Config {

    /** A file, for a server that is restarted; else nothing outlives it. */
    private static final String DATABASE = System.getProperty("hapi.database");

    @Bean
    public JpaStorageSettings jpaStorageSettings() {
        JpaStorageSettings s = new JpaStorageSettings();
        // Any id a client sends is taken, numbers included; the server's own are UUIDs.
        s.setResourceClientIdStrategy(JpaStorageSettings.ClientIdStrategyEnum.ANY);
        s.setResourceServerIdStrategy(JpaStorageSettings.IdStrategyEnum.UUID);
        s.setAllowMultipleDelete(true);
        s.setExpungeEnabled(true);
        s.setAllowExternalReferences(true);
        s.setEnforceReferentialIntegrityOnDelete(false);
        s.setEnforceReferentialIntegrityOnWrite(false);
        s.setReuseCachedSearchResultsForMillis(null);
        // A step of a bulk export is begun when the one before has ended, where HAPI can tell.
        s.setJobFastTrackingEnabled(true);
        return s;
    }

    @Bean
    public SubscriptionSettings subscriptionSettings() {
        SubscriptionSettings s = new SubscriptionSettings();
        s.addSupportedSubscriptionType(SubscriptionChannelType.RESTHOOK);
        s.setSubscriptionChangeQueuedImmediately(Boolean.getBoolean("hapi.subscriptionsAtOnce"));
        s.setSubscriptionIntervalInMs(Long.getLong("hapi.submitIntervalMs", 5000));
        return s;
    }

    @Bean
    public PartitionSettings partitionSettings() {
        return new PartitionSettings();
    }

    /** HAPI's own retry (1 s first, times 1.1, for 1 minute), each number settable. */
    @Bean
    @Primary
    public RetryPolicyProvider settableRetryPolicyProvider() {
        return new RetryPolicyProvider() {
            @Override
            protected RetryPolicy retryPolicy() {
                return new TimeoutRetryPolicy(Long.getLong("hapi.retry.forMs", 60_000));
            }

            @Override
            protected BackOffPolicy backOffPolicy() {
                ExponentialBackOffPolicy p = new ExponentialBackOffPolicy();
                p.setInitialInterval(Long.getLong("hapi.retry.firstMs", 1000));
                p.setMultiplier(Double.parseDouble(System.getProperty("hapi.retry.times", "1.1")));
                return p;
            }
        };
    }

    /** The pass that brings bulk exports on. Static: it has to be there before what it changes. */
    @Bean
    public static BeanPostProcessor batchInterval() {
        return new BeanPostProcessor() {
            @Override
            public Object postProcessAfterInitialization(Object bean, String name) {
                if (bean instanceof JobMaintenanceServiceImpl jobs) {
                    jobs.setScheduledJobFrequencyMillis(Long.getLong("hapi.batchIntervalMs", 60_000));
                }
                return bean;
            }
        };
    }

    @Bean(destroyMethod = "close")
    public HikariDataSource dataSource() {
        HikariDataSource ds = new HikariDataSource();
        ds.setJdbcUrl(DATABASE == null ? "jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1" : "jdbc:h2:file:" + DATABASE + ";WRITE_DELAY=0");
        ds.setUsername("sa");
        ds.setPassword("");
        ds.setMaximumPoolSize(30);
        return ds;
    }

    @Bean
    @Primary
    public LocalContainerEntityManagerFactoryBean entityManagerFactory(
            DataSource ds, ConfigurableListableBeanFactory beans, FhirContext ctx, JpaStorageSettings storage) {
        Map<String, Object> p = new HashMap<>();
        p.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
        p.put("hibernate.hbm2ddl.auto", DATABASE == null ? "create" : "update");
        p.put("hibernate.jdbc.batch_size", "20");
        p.put("hibernate.cache.use_query_cache", "false");
        p.put("hibernate.cache.use_second_level_cache", "false");
        p.put("hibernate.search.enabled", "false");
        LocalContainerEntityManagerFactoryBean f =
                HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, ctx, storage);
        f.setPersistenceUnitName("HAPI_PU");
        f.setJpaPropertyMap(p);
        f.setDataSource(ds);
        return f;
    }

    @Bean
    @Primary
    public JpaTransactionManager transactionManager(EntityManagerFactory f) {
        return new JpaTransactionManager(f);
    }

    @Bean
    @Primary
    public HibernatePropertiesProvider primaryHibernatePropertiesProvider() {
        return new HibernatePropertiesProvider();
    }

    @Bean
    public DatabaseBackedPagingProvider pagingProvider() {
        DatabaseBackedPagingProvider p = new DatabaseBackedPagingProvider();
        p.setDefaultPageSize(50);
        p.setMaximumPageSize(1000);
        return p;
    }

    /**
     * The FHIR endpoint. It takes the trigger provider as a parameter because that bean is lazy: made after the
     * context has started, its job is never scheduled and $trigger-subscription delivers nothing.
     */
    @Bean
    public RestfulServer restfulServer(
            FhirContext ctx,
            IInterceptorService interceptors,
            ResourceProviderFactory resources,
            IJpaSystemProvider system,
            SubscriptionTriggeringProvider trigger,
            BulkDataExportProvider export,
            DatabaseBackedPagingProvider paging) {
        RestfulServer s = new RestfulServer(ctx);
        s.setInterceptorService(interceptors);
        s.registerProviders(resources.createProviders());
        s.registerProviders(system, trigger, export);
        s.setPagingProvider(paging);
        s.setDefaultResponseEncoding(EncodingEnum.JSON);
        return s;
    }

    @Bean
    public IStaleSearchDeletingSvc staleSearchDeletingSvc() {
        return new StaleSearchDeletingSvcImpl();
    }

    @Bean
    public IResourceSupportedSvc resourceSupportedSvc(IDaoRegistry daos) {
        return new DaoRegistryResourceSupportedSvc(daos);
    }

    /** HAPI wants one even where no subscription sends mail. */
    @Bean
    public IEmailSender emailSender() {
        return details -> {
            throw new UnsupportedOperationException("no mail here");
        };
    }

    @Bean
    public IBinaryStorageSvc binaryStorageSvc() {
        return new MemoryBinaryStorageSvcImpl();
    }
}
