// Uses the console as an operator does, in a real Chromium, and prints what it saw as JSON.
// Arguments: the admin address, the token, a resource's key, a folder for pictures.
const { chromium } = require('playwright-core');

const [, , admin, token, key, folder] = process.argv;

(async () => {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  const seen = { complaints: [], pages: {} };
  try {
    for (const [name, colorScheme, viewport] of [
      ['light', 'light', { width: 1200, height: 900 }],
      ['dark-phone', 'dark', { width: 390, height: 844 }],
    ]) {
      const context = await browser.newContext({ colorScheme, viewport });
      const page = await context.newPage();
      page.on('console', (message) => message.type() === 'error' && seen.complaints.push(message.text()));
      page.on('pageerror', (error) => seen.complaints.push(String(error)));
      const look = async (what) => {
        // A page wider than the screen can't be read on a phone.
        const width = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        const unnamed = await page.evaluate(
          () => [...document.querySelectorAll('input:not([type=hidden])')].filter((i) => i.labels.length === 0).length,
        );
        seen.pages[`${name}/${what}`] = {
          title: await page.title(),
          heading: await page.locator('h1').innerText(),
          text: await page.locator('main').innerText(),
          overflow: width,
          unnamed,
        };
        if (folder) await page.screenshot({ path: `${folder}/console-${name}-${what}.png`, fullPage: true });
      };
      await page.goto(`${admin}/`);
      await look('login');
      await page.fill('#token', 'a-wrong-token');
      await page.keyboard.press('Enter');
      await page.waitForSelector('[role=alert]');
      await page.fill('#token', token);
      await page.keyboard.press('Enter');
      await page.waitForSelector('figure');
      await look('overview');
      // By keyboard alone: the first stop skips to the content, then the brand, then the search.
      await page.keyboard.press('Tab');
      seen.firstStop = await page.evaluate(() => document.activeElement.textContent);
      await page.fill('#key', key);
      await page.keyboard.press('Enter');
      await page.waitForSelector('h1:has-text("/")');
      await look('resource');
      await page.getByRole('button', { name: 'Send what the CDR has now' }).click();
      await page.waitForSelector('[role=status]');
      await look('resent');
      await page.locator('[role=status] a').click();
      await look('code');
      await page.goto(`${admin}/console/dead-letters`);
      await look('letters');
      await page.getByRole('button', { name: /^Redrive letter/ }).first().click();
      await page.waitForSelector('[role=status]');
      await look('redriven-one');
      await page.getByRole('button', { name: /^Redrive these/ }).click();
      await page.waitForSelector('[role=status]');
      await look('redriven');
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.waitForSelector('#token');
      await page.goto(`${admin}/`);
      seen.pages[`${name}/after`] = { title: await page.title() };
      await context.close();
    }
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(seen));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
